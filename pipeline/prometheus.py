"""`xpoll status RUN --metrics-port N`: a run's load as Prometheus metrics, read from its folder at each scrape.

A process of its own, so that watching costs the run nothing and goes on over its restarts. docs/grafana.json
is a board for these metrics.
"""

import threading
from collections.abc import Callable, Iterable
from typing import Any

from xpoll.core.errors import EngineError
from xpoll.core.run_folder import RunFolder
from xpoll.engine.journal.answers import count_answers
from xpoll.engine.journal.load_metrics import latest_loads
from xpoll.engine.planning.plan import read_plan
from xpoll.pipeline.state import is_done
from xpoll.pipeline.steps import STEPS

COUNTERS = {
    "answers": "Answers in this session.",
    "prompt_tokens": "Prompt tokens of these answers.",
    "cached_prompt_tokens": "Prompt tokens that were read from the prefix cache.",
    "output_tokens": "Output tokens of these answers.",
}
GAUGES = {
    "running": "Requests in the engine's batch.",
    "waiting": "Requests in the engine's queue.",
    "handed_over": "Prompts in the engine.",
    "held_back": "Prompts that wait in the worker for a place in the engine.",
    "kv_cache_usage": "Share of the KV cache in use, 0 to 1.",
}


class RunCollector:
    """What prometheus_client asks at each scrape."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Any]:
        """Metric families; a figure that an engine does not say is left out."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        polls = self._folder.polls()
        loads = [
            {**load, "worker": f"{teacher}/{load['worker']}" if teacher else load["worker"]}
            for teacher, poll in polls.items()
            for load in latest_loads(poll.load)
        ]
        for families, make in ((COUNTERS, CounterMetricFamily), (GAUGES, GaugeMetricFamily)):
            for name, text in families.items():
                family = make(f"xpoll_{name}", text, labels=["worker", "device"])
                for load in loads:
                    if load[name] is not None:
                        family.add_metric([load["worker"], load["device"]], load[name])
                yield family
        yield from self._of_run()

    def _of_run(self) -> Iterable[Any]:
        from prometheus_client.core import GaugeMetricFamily

        polls = self._folder.polls().values()
        answers = sum(count_answers(poll.completions) for poll in polls)
        yield GaugeMetricFamily("xpoll_run_answers", "Answers on disk, of all sessions.", value=answers)
        if all(poll.plan.exists() for poll in polls):
            wanted = sum(read_plan(poll.plan).prompts for poll in polls)
            yield GaugeMetricFamily("xpoll_run_prompts", "Prompts of the run, at most.", value=wanted)
        done = GaugeMetricFamily("xpoll_run_step_done", "1 where the step is done.", labels=["step"])
        for step in STEPS:
            done.add_metric([step], float(is_done(step, self._folder)))
        yield done


def serve_metrics(
    folder: RunFolder,
    port: int,
    say_address: Callable[[str], None],
    *,
    host: str = "127.0.0.1",
    until: threading.Event | None = None,
) -> int:
    """Serves until Ctrl-C, or until the event is set.

    Raises:
        EngineError: the port is taken.
    """
    from prometheus_client import CollectorRegistry, start_http_server

    registry = CollectorRegistry()
    registry.register(RunCollector(folder))
    try:
        server, thread = start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        raise EngineError(f"cannot listen on {host}:{port}: {error.strerror}", mend="take another port") from error
    say_address(f"http://{host}:{server.server_port}/metrics")
    try:
        (until or threading.Event()).wait()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    return 0
