"""The plan of a run: prompts, their order, devices, shared prefixes, memory and rate; starts no engine."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import Any, NamedTuple

from xpoll.core.config.job import EngineConfig
from xpoll.core.files import read_json
from xpoll.core.questions import YES_NO
from xpoll.core.records import Prompt
from xpoll.core.results import Part, Result, read_result
from xpoll.engine.backends.registry import device_kind, spec_of
from xpoll.engine.devices.find import Device, find_intel_gpus, left_out
from xpoll.engine.planning.first_done import first_done
from xpoll.engine.planning.fit import MemoryFit, fit_of, tightest
from xpoll.engine.planning.intel_notes import intel_notes
from xpoll.engine.planning.kv_cache import cache_of, engine_options
from xpoll.engine.planning.model_shape import ModelShapeOnDisk, shape_of
from xpoll.engine.planning.prefix import Prediction, Tokens, choose, predict_cache_hits, sample_of
from xpoll.engine.planning.rate_bound import RateBound, TokensEach, rate_bound
from xpoll.engine.planning.token_counts import CountedBy, check_room, tokens_of, tree_of_labels

SAMPLE_PROMPTS = 256
SAMPLE_REQUESTS = 2048
"""Requests to sample, where a prompt takes one for each label: some three seconds' work."""
SAMPLE_DOCUMENTS = 8
"""Documents to sample at least, even if they have more prompts than SAMPLE_PROMPTS."""
UNKNOWN_ANSWER_TOKENS = 512
"""Assumed length of an answer that may be as long as the context."""
NAMED = "panel.order says so"
"""The reason of an order that the job names."""
ELSEWHERE = Device("xpu", 0, "a node of the cluster")
"""Stands for the devices of a cluster, which are not known before Ray is connected."""


class PredictedTokens(Part):
    """Of one order of prompts, per prompt, from the first documents; of prompts with questions, per question."""

    prompt_tokens_each: float
    computed_tokens_each: float
    cached_share: float
    prefixes_fit: bool | None


class Plan(Result):
    """plan.json: what a run will ask, of what, and in which order. None where something is not known."""

    schema_version: int = 2
    documents: int
    prompts: int
    """At most: a stop rule may spare some."""
    probes: int = 0
    """Texts without content that are asked about beside the documents."""
    logprobs: bool = False
    """Whether answers carry the labels' logprobs."""
    backend: str
    model: str
    address: str | None
    devices: list[str] | None
    device_masks: list[str] | None
    devices_left_out: list[str]
    device_name: str | None
    replicas: int | None
    max_in_flight: int
    answer_max_tokens: int | None
    requests_per_read: int | None = None
    """At most, where answers are read: one, unless labels have several tokens, or each label is a question of its own.
    Predicted tokens are those of the first request of each question. None where the engine writes answers instead."""
    prompt_order: str
    prompt_order_reason: str
    tokens_counted_by: str | None
    block_size: int | None
    kv_cache_tokens: int | None
    predicted: dict[str, PredictedTokens]
    predicted_cached_share: float | None
    fit: MemoryFit | None
    rate_at_most: RateBound | None
    notes: list[str] = []
    """What is worth knowing of these devices before a start, in sentences."""

    @property
    def to_settle(self) -> int:
        """How many texts a poll is done with: documents, and those without content."""
        return self.documents + self.probes

    @property
    def uncached_tokens_per_label(self) -> float | None:
        """Prompt tokens to compute per text in the chosen order, at most; None where it is not predicted.

        Where each label is a question of its own, per text and label.
        """
        predicted = self.predicted.get(self.prompt_order)
        return round(predicted.computed_tokens_each * self.prompts / self.to_settle, 1) if predicted else None


class BatchPlan(Plan):
    """plan.json of a batch file."""

    lines: int
    input_digest: str


def read_plan(path: Path) -> Plan:
    """The plan of a run or of a batch file.

    Raises:
        RunFolderError: it is missing, damaged, or of another version.
    """
    held = read_json(path) if path.exists() else {}
    return read_batch_plan(path) if "input_digest" in held else read_result(path, Plan, step="poll")


def read_batch_plan(path: Path) -> BatchPlan:
    """The plan of a batch file; raises as `read_plan`."""
    return read_result(path, BatchPlan, step="batch")


class Chosen(NamedTuple):
    """The order that prompts are asked in, and why."""

    order: str
    reason: str


def make_plan(
    prompts: Mapping[str, Iterable[Prompt]],
    *,
    documents: int,
    asked_each: int,
    config: EngineConfig,
    devices: Sequence[Device],
    chosen: Chosen | None = None,
) -> Plan:
    """The plan of a run; token counts are of the first prompts.

    Args:
        prompts: The run's prompts in each possible order, the preferred one first.
        documents: Number of documents.
        asked_each: Number of prompts per document.
        config: The engine section.
        devices: Where engines will run; empty where only the cluster knows.
        chosen: The order, where it is already decided, e.g. by the run that is resumed.
    """
    reads = spec_of(config.backend).reads(config)
    as_asked = {order: each if reads else (prompt.in_words() for prompt in each) for order, each in prompts.items()}
    samples = {order: list(_sample(each)) for order, each in as_asked.items()}
    first = next((document[0] for document in next(iter(samples.values()))), None)
    cache = counted_by = shape = None
    vllm = config.table("vllm")
    predictions: dict[str, Prediction] = {}
    if spec_of(config.backend).has_kv_cache and first is not None:
        check_room(first, config.model)
        shape, where = shape_of(config.model), devices[0] if devices else ELSEWHERE
        cache = cache_of(shape, engine_options(vllm, where), where)
        for name, sample in samples.items():
            requests = [[_each_question(prompt) for prompt in document] for document in sample]
            asked = [[request for prompt in document for request in prompt] for document in requests]
            tokens, counted_by = _tokens(asked, config.model)
            predictions[name] = predict_cache_hits(
                sample_of(tokens, [[_contents(request)[:-1] for request in document] for document in asked]),
                cache,
                documents=documents,
                repeats=asked_each / len(sample[0]),
                output_tokens=_most_answer_tokens(first),
                workers=max(1, len(devices)),
            )
    order, reason = _settled(chosen, _preferred(samples, predictions, config.backend))
    prediction = predictions.get(order)
    cache_tokens = cache.num_blocks * cache.block_size if cache and cache.num_blocks is not None else None
    notes = intel_notes(devices, engine_options(vllm, devices[0])) if cache and devices else []
    if prediction and first:
        each = _each(prediction, first)
        notes += first_done(
            config, devices, shape, first, prompts=documents * asked_each, tokens_each=each.computed + each.answer
        )
    return Plan(
        documents=documents,
        prompts=documents * asked_each,
        backend=config.backend,
        model=config.model,
        address=config.address,
        devices=[str(device) for device in devices] or None,
        device_masks=[device.mask for device in devices if device.kind != "cpu"] or None,
        devices_left_out=_left_out(config, devices) if config.device in ("auto", "xpu") and devices else [],
        device_name=devices[0].name if devices else None,
        replicas=len(devices) or None,
        max_in_flight=config.max_in_flight,
        answer_max_tokens=first.sampling.max_tokens if first else None,
        requests_per_read=_requests_per_read(first, config) if first else None,
        prompt_order=order,
        prompt_order_reason=reason,
        tokens_counted_by=counted_by,
        block_size=cache.block_size if cache else None,
        kv_cache_tokens=cache_tokens,
        predicted={name: _rounded(each) for name, each in predictions.items()},
        predicted_cached_share=round(prediction.cached_share, 4) if prediction else None,
        fit=_fit(config.model, shape, vllm, devices) if cache and devices else None,
        rate_at_most=_rate(config.model, shape, vllm, devices, prediction, first) if prediction and first else None,
        notes=notes,
    )


def _requests_per_read(first: Prompt, config: EngineConfig) -> int | None:
    answer = first.answer
    if not answer.read or not spec_of(config.backend).needs_model:
        return None
    tree = tree_of_labels(YES_NO if answer.questions else answer.choices, config.model)
    return tree.most_requests * len(first.wordings()) if tree else None


def _each_question(prompt: Prompt) -> list[Prompt]:
    """The requests of a prompt, each as a prompt of its own."""
    if prompt.answer.questions is None:
        return [prompt]
    return [prompt._replace(messages=messages) for messages in prompt.wordings()]


def _most_answer_tokens(prompt: Prompt) -> int:
    """Of one request."""
    return 1 if prompt.answer.questions else prompt.sampling.max_tokens or UNKNOWN_ANSWER_TOKENS


def _left_out(config: EngineConfig, devices: Sequence[Device]) -> list[str]:
    """The Intel GPUs of this machine that a run on `auto` or `xpu` does not use, each with the reason."""
    unused = find_intel_gpus() if devices[0].kind == "cpu" and device_kind(config) == "cpu" else []
    cpu_only = [f"{gpu.name} at {gpu.pci_address}: the installed vLLM is made for CPUs" for gpu in unused]
    return left_out() + (cpu_only if spec_of(config.backend).needs_model else [])


def _fit(model: str, shape: ModelShapeOnDisk | None, vllm: Mapping[str, Any], devices: Sequence[Device]) -> MemoryFit:
    """How the model fits onto the device with the least room."""
    device = tightest(devices)
    return fit_of(model, shape, engine_options(vllm, device), device)


def _rate(
    model: str,
    shape: ModelShapeOnDisk | None,
    vllm: Mapping[str, Any],
    devices: Sequence[Device],
    prediction: Prediction,
    first: Prompt,
) -> RateBound | None:
    if not devices:
        return None
    bound = rate_bound(model, shape, vllm, devices, prompts=prediction.prompts, tokens=_each(prediction, first))
    if bound.prompts_per_s is None or not first.answer.questions:
        return bound
    # What was counted are requests, one for each question of a prompt.
    return bound.model_copy(update={"prompts_per_s": round(bound.prompts_per_s / len(first.wordings()), 3)})


def _each(prediction: Prediction, first: Prompt) -> TokensEach:
    return TokensEach(
        computed=prediction.computed_tokens / prediction.prompts,
        prompt=prediction.prompt_tokens / prediction.prompts,
        answer=_most_answer_tokens(first),
    )


def _sample(prompts: Iterable[Prompt]) -> Iterator[list[Prompt]]:
    """The prompts of the first usable documents, each wording once."""
    seen = requests = 0
    usable = (prompt for prompt in prompts if prompt.problem is None)
    for number, (_, group) in enumerate(groupby(usable, key=lambda prompt: prompt.document_id)):
        if (seen >= SAMPLE_PROMPTS or requests >= SAMPLE_REQUESTS) and number >= SAMPLE_DOCUMENTS:
            return
        document = {_contents(prompt): prompt for prompt in group}
        seen += len(document)
        requests += sum(len(prompt.wordings()) for prompt in document.values())
        yield list(document.values())


def _contents(prompt: Prompt) -> tuple[str, ...]:
    return tuple(message["content"] for message in prompt.messages)


def _tokens(sample: list[list[Prompt]], model: str) -> tuple[list[list[Tokens]], CountedBy]:
    tokens, counted_by = tokens_of([prompt for document in sample for prompt in document], model)
    following = iter(tokens)
    return [list(islice(following, len(document))) for document in sample], counted_by


def _preferred(orders: Iterable[str], predictions: Mapping[str, Prediction], backend: str) -> Chosen:
    if predictions:
        return Chosen(*choose(predictions))
    return Chosen(next(iter(orders)), f"nothing is known of prefixes with the backend {backend}")


def _settled(chosen: Chosen | None, preferred: Chosen) -> Chosen:
    """The order that was already chosen wins; its reason then names the order that token counts prefer."""
    if chosen is None:
        return preferred
    if chosen.order == preferred.order or chosen.reason != NAMED:
        return chosen
    return Chosen(chosen.order, f"{chosen.reason}; auto would take {preferred.order}: {preferred.reason}")


def _rounded(prediction: Prediction) -> PredictedTokens:
    return PredictedTokens(
        prompt_tokens_each=round(prediction.prompt_tokens / prediction.prompts, 1),
        computed_tokens_each=round(prediction.computed_tokens / prediction.prompts, 1),
        cached_share=round(prediction.cached_share, 4),
        prefixes_fit=prediction.fits,
    )
