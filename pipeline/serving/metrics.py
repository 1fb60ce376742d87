"""What a server counts, as Prometheus metrics. Where vLLM has a metric of the same meaning, it has vLLM's name.

A request, in these metrics, is one text. The figures of an engine behind the server are its own, and stand on the
same page.
"""

from collections.abc import Callable, Iterable
from typing import Any

LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""vLLM's begin at 0.3 s, above what a student takes."""


class ServingMetrics:
    """The metrics of one server, in a registry of their own.

    Args:
        model: Name of the model in requests.
    """

    def __init__(self, model: str) -> None:
        from prometheus_client import CollectorRegistry, Counter, ProcessCollector

        self.model = model
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._http = Counter(
            "http_requests",
            "Requests by handler, status and method.",
            ["handler", "status", "method"],
            registry=self._registry,
        )
        self._texts = Counter(
            "xpoll_texts",
            "Texts that were labelled, by who labelled them and how.",
            ["model_name", "answered_by", "label"],
            registry=self._registry,
        )

    def responded(self, handler: str, method: str, status: int) -> None:
        """Counts a response; the status as 2xx, 4xx, 5xx."""
        self._http.labels(handler, f"{status // 100}xx", method).inc()

    def labelled(self, answered_by: str, label: str | None) -> None:
        """Counts a text."""
        self._texts.labels(self.model, answered_by, label or "").inc()

    def of_student(self) -> "LabellerMetrics":
        """The metrics of a student's process."""
        return LabellerMetrics(self.model, self._registry)

    def page(self, engine: str = "") -> tuple[bytes, str]:
        """The metrics as text, and its content type.

        Args:
            engine: The page of the engine behind the server; families of one name become one.
        """
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        families: dict[str, Any] = {family.name: family for family in self._registry.collect()}
        for family in _parsed(engine):
            if family.name not in families:
                families[family.name] = family
            elif not family.name.startswith(("process", "python", "http")):
                families[family.name].samples.extend(family.samples)
        return generate_latest(_Page(families.values())), CONTENT_TYPE_LATEST


class _Page:
    """What generate_latest takes for a registry."""

    def __init__(self, families: Iterable[Any]) -> None:
        self._families = families

    def collect(self) -> Iterable[Any]:
        return self._families


def _parsed(page: str) -> Iterable[Any]:
    from prometheus_client.parser import text_string_to_metric_families

    return text_string_to_metric_families(page)


class LabellerMetrics:
    """The metrics of what computes in a process of this server.

    Args:
        model: Name of the model in requests.
        registry: Of prometheus_client.
    """

    def __init__(self, model: str, registry: Any) -> None:
        from prometheus_client import Counter, Gauge, Histogram

        def made(kind: Any, name: str, text: str, **further: Any) -> Any:
            return kind(name, text, ["model_name", "engine"], registry=registry, **further).labels(model, "0")

        in_s = {"buckets": LATENCY_BUCKETS_S}
        self._running = made(Gauge, "vllm:num_requests_running", "Number of requests in model execution batches.")
        self._waiting = made(Gauge, "vllm:num_requests_waiting", "Number of requests waiting to be processed.")
        self._tokens = made(Counter, "vllm:prompt_tokens", "Number of prefill tokens processed.")
        self._success = Counter(
            "vllm:request_success",
            "Count of successfully processed requests.",
            ["model_name", "engine", "finished_reason"],
            registry=registry,
        ).labels(model, "0", "stop")
        self._e2e = made(
            Histogram, "vllm:e2e_request_latency_seconds", "Histogram of e2e request latency in seconds.", **in_s
        )
        self._queue = made(
            Histogram,
            "vllm:request_queue_time_seconds",
            "Histogram of time spent in WAITING phase for request.",
            **in_s,
        )
        self._inference = made(
            Histogram,
            "vllm:request_inference_time_seconds",
            "Histogram of time spent in RUNNING phase for request.",
            **in_s,
        )
        self.restarts = made(Counter, "xpoll_restarts", "How often the model's process was started again.")

    def watch(self, *, running: Callable[[], int], waiting: Callable[[], int]) -> None:
        """Reads both at every scrape."""
        self._running.set_function(running)
        self._waiting.set_function(waiting)

    def answered(self, tokens: int, *, queue_s: float, inference_s: float, e2e_s: float) -> None:
        """Counts a text that was answered."""
        self._tokens.inc(tokens)
        self._success.inc()
        self._queue.observe(queue_s)
        self._inference.observe(inference_s)
        self._e2e.observe(e2e_s)
