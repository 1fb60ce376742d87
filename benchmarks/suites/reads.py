"""A label from one forward pass: labels per second against generated answers, and whether the read is exact.

One engine in a subprocess, the backend as a worker has it, without Ray and journal; the prompts of
examples/investor_sentiment. The arms take turns on the same engine: `read`, the constrained `label`, and three
chains of thought. Before each measurement the prefix cache is emptied and one prompt is asked, so that texts are new
and what all prompts begin with is not; and the ceiling is measured, what this processor multiplies at the shapes of the
model's layers.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from xpoll.benchmarks.runner.records import Parameters, Record, alternating
from xpoll.benchmarks.runner.subprocess_call import call_in_subprocess
from xpoll.benchmarks.workloads.example_job import example_config, example_prompts
from xpoll.benchmarks.workloads.label_questions import measure_questions, question_config
from xpoll.benchmarks.workloads.labelled_sets import examples_of, labelled_set
from xpoll.benchmarks.workloads.nlu_plus_plus import nlu_plus_plus
from xpoll.benchmarks.workloads.teacher_forced import teacher_forced
from xpoll.benchmarks.workloads.teachers_run import measure_teachers
from xpoll.benchmarks.workloads.trace_shares import trace_shares
from xpoll.core.config.job import Config
from xpoll.core.errors import ConfigError, EngineError
from xpoll.core.models import resolve_model
from xpoll.core.progress import say
from xpoll.core.records import AnswerSchema, Completion, Prompt, Sampling
from xpoll.engine.backends.backend import BackendSettings
from xpoll.engine.backends.vllm.in_process import VllmBackend
from xpoll.engine.devices.find import find_devices, pinning

ANSWERS = {"read": ("read", 1), "label": ("label", 1), "chain_of_thought x 3": ("chain_of_thought", 3)}
"""Form of the answers, and how many make one label."""

STEP_TOKENS = 1024
"""Rows of the multiplications that the ceiling is measured with: the tokens of a large prefill step."""


def measure(parameters: Parameters) -> Iterator[Record]:
    """The parts that are asked for, each on an engine of its own."""
    resolve_model(parameters["model"], key="parameters.model")  # prepares a packaged model before the clock starts
    (device,) = find_devices("cpu", 1)
    log = Path(tempfile.gettempdir()) / f"xpoll-bench-reads-{os.getpid()}.log"
    for name, part in PARTS.items():
        if name in parameters["parts"]:
            say(f"part {name}")
            yield from call_in_subprocess(part, parameters, environment=pinning(device), log=log)["records"]
    log.unlink(missing_ok=True)


def rate(parameters: Parameters) -> Record:
    """Labels per second of each arm, and what share of the ceiling its prompts reach; to be called in a subprocess."""
    work = _LayerWork(parameters["shape"])
    prompts = {arm: _prompts(parameters, *ANSWERS[arm]) for arm in parameters["arms"]}
    apart = parameters["warm_up"] * max(samples for _, samples in ANSWERS.values())
    with asyncio.Runner() as runner:
        backend = runner.run(_started(parameters))
        for each in prompts.values():  # what is compiled at first use
            runner.run(_answered(backend, each[:apart]))

        def measure_arm(arm: str, _repeat: int) -> Record:
            # As new texts find it: the cache holds what the persona's prompts begin with, and no text.
            runner.run(backend.forget_prefixes())
            runner.run(_answered(backend, prompts[arm][:1]))
            asked = prompts[arm][ANSWERS[arm][1] :]
            ceiling = work.gflop_per_s()
            begun_s = time.perf_counter()
            completions = runner.run(_answered(backend, asked))
            wall_s = time.perf_counter() - begun_s
            labels = len(completions) // ANSWERS[arm][1]
            computed = sum(each.prompt_tokens - each.cached_prompt_tokens for each in completions)
            output_tokens = sum(each.output_tokens for each in completions)
            gflop = work.gflop(computed + output_tokens, sampled=output_tokens)
            return {
                "labels": labels,
                "wall_s": round(wall_s, 3),
                "labels_per_s": round(labels / wall_s, 4),
                "uncached_tokens_per_label": round(computed / labels, 2),
                "output_tokens_per_label": round(output_tokens / labels, 2),
                "gflop_per_s": round(gflop / wall_s, 2),
                "ceiling_gflop_per_s": round(ceiling, 1),
                "ceiling_share": round(gflop / wall_s / ceiling, 4),
            }

        records = list(alternating(parameters, measure_arm))
        backend.stop()
    rates = {arm: [record["labels_per_s"] for record in records if record["arm"] == arm] for arm in prompts}
    shares = [record["ceiling_share"] for record in records if record["arm"] == "read"]
    summary: Record = {"arm": "read against the others", "read_ceiling_share": round(median(shares), 4)}
    for arm, name in (("label", "label_speedup"), ("chain_of_thought x 3", "chain_speedup")):
        if arm in rates:
            paired = [read / other for read, other in zip(rates["read"], rates[arm], strict=True)]
            summary[name] = round(median(paired), 3)
    return {"records": [*records, summary]}


def exact(parameters: Parameters) -> Record:
    """Largest difference of a read from the probability that Transformers gives each whole label in fp32.

    Three labels of one token, labels of several tokens, and those of BANKING77 where the data is there.
    """
    sets: dict[str, tuple[str, ...]] = {"3 labels of one token": ("positive", "neutral", "negative")}
    sets["7 labels of several tokens"] = (
        "card",
        "card lost",
        "card lost or stolen",
        "card payment not recognised",
        "transfer not received",
        "transfer",
        "exchange rate",
    )
    if banking := _banking_labels(parameters):
        sets["77 labels"] = banking
    records: list[Record] = []
    with asyncio.Runner() as runner:
        backend = runner.run(_started(parameters, dtype="float32"))
        read = {}
        for name, labels in sets.items():
            prompts = _read_prompts(parameters, labels)
            completions = runner.run(_answered(backend, prompts))
            read[name] = [(backend.token_ids(prompt), each) for prompt, each in zip(prompts, completions, strict=True)]
        backend.stop()
    for name, labels in sets.items():
        expected = teacher_forced(
            resolve_model(parameters["model"], key="parameters.model"), [ids for ids, _ in read[name]], labels
        )
        found = np.exp(np.array([completion.choice_logprobs for _, completion in read[name]], dtype=float))
        computed = sum(each.prompt_tokens - each.cached_prompt_tokens + each.output_tokens for _, each in read[name])
        records.append(
            {
                "arm": name,
                "labels": len(labels),
                "texts": len(found),
                "largest_difference": float(np.abs(found - expected).max()),
                "computed_tokens_per_read": round(computed / len(found), 1),
            }
        )
    return {"records": records}


def profile(parameters: Parameters) -> Record:
    """Where the time of reads goes, by PyTorch's profiler in the engine: shares by kind of operator.

    The profiler slows small operators down, so that a share of these is a bound from above.
    """
    from vllm.config import ProfilerConfig

    prompts = _prompts(parameters, *ANSWERS["read"])
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        settings = ProfilerConfig(
            profiler="torch", torch_profiler_dir=folder, torch_profiler_with_stack=False, ignore_frontend=True
        )
        backend = runner.run(_started(parameters, profiler_config=settings))
        runner.run(_answered(backend, prompts[: parameters["warm_up"]]))
        runner.run(backend.forget_prefixes())
        runner.run(_answered(backend, prompts[:1]))
        runner.run(backend.profiled(lambda: _answered(backend, prompts[1:])))
        backend.stop()
        shares = trace_shares(Path(folder))
    named = {kind.replace(", ", "_").replace(" ", "_"): round(share, 4) for kind, share in shares.items()}
    return {"records": [{"arm": "where the time of reads goes", **named}]}


def accuracy(parameters: Parameters) -> Record:
    """A causal model that is read and an encoder, alone and together, on test rows of each data set; no engine here."""
    records: list[Record] = []
    for name in parameters["sets"]:
        rows = labelled_set(parameters["data"], name, "test", rows=parameters["rows"], seed=parameters["seed"])
        shown = examples_of(parameters["data"], name, each=parameters["examples"], seed=parameters["seed"])
        found = measure_teachers(rows, model=parameters["model"], methods=parameters["methods"], examples=shown)
        records += [{"set": name, **record} for record in found]
    return {"records": records}


def questions(parameters: Parameters) -> Record:
    """Every intent of NLU++ read by itself: what a label costs, and the sets with and without the model's yes-bias."""
    try:
        rows = nlu_plus_plus(
            parameters["data"], parameters["question_split"], rows=parameters["question_rows"], seed=parameters["seed"]
        )
    except ConfigError as error:
        say(f"questions are left out: {error}")
        return {"records": []}
    config = question_config(rows, model=parameters["model"], personas=parameters["question_personas"])
    (device,) = find_devices("cpu", 1)
    with asyncio.Runner() as runner:
        backend = runner.run(_started(parameters))

        def answered(prompts: Sequence[Prompt]) -> list[Completion]:
            runner.run(_answered(backend, prompts[:1]))  # what is compiled at first use
            runner.run(backend.forget_prefixes())
            return runner.run(_answered(backend, prompts))

        records = list(measure_questions(config, rows, device, answered))
        backend.stop()
    return {"records": records}


PARTS: dict[str, Callable[[Parameters], Record]] = {
    "rate": rate,
    "profile": profile,
    "exact": exact,
    "accuracy": accuracy,
    "questions": questions,
}


class _LayerWork:
    """The multiplications of one forward pass of a model, by its shape.

    Args:
        shape: Name in SHAPES.
    """

    def __init__(self, shape: str) -> None:
        from xpoll.kernels_bench.shapes import SHAPES

        self._gemms = SHAPES[shape].gemms
        self._layers = SHAPES[shape].layers

    def gflop(self, tokens: int, *, sampled: int) -> float:
        """Of `tokens` through all layers, `sampled` of them through the output matrix."""
        of_layers = sum(inputs * outputs for name, (inputs, outputs) in self._gemms.items() if name != "logits")
        inputs, outputs = self._gemms["logits"]
        return 2e-9 * (tokens * self._layers * of_layers + sampled * inputs * outputs)

    def gflop_per_s(self) -> float:
        """What this processor multiplies at the layers' shapes in fp32, the best of several passes."""
        import torch

        shapes = [shape for name, shape in self._gemms.items() if name != "logits"]
        pairs = [(torch.rand(STEP_TOKENS, inputs), torch.rand(outputs, inputs)) for inputs, outputs in shapes]
        times = []
        for _ in range(30):
            begun_s = time.perf_counter()
            for rows, matrix in pairs:
                torch.nn.functional.linear(rows, matrix)
            times.append(time.perf_counter() - begun_s)
        return 2e-9 * STEP_TOKENS * sum(inputs * outputs for inputs, outputs in shapes) / min(times)


async def _started(parameters: Parameters, **options: Any) -> VllmBackend:
    (device,) = find_devices("cpu", 1)
    backend = VllmBackend(
        BackendSettings(parameters["model"], device, "bench", {**parameters.get("vllm", {}), **options})
    )
    await backend.start()
    return backend


async def _answered(backend: VllmBackend, prompts: Sequence[Prompt]) -> list[Completion]:
    completions = await asyncio.gather(*map(backend.answer, prompts))
    if errors := [each.error for each in completions if each.error_kind]:
        raise EngineError(f"{len(errors)} prompts were not answered: {errors[0]}")
    return list(completions)


def _prompts(parameters: Parameters, answer: str, samples: int) -> list[Prompt]:
    return list(example_prompts(parameters, _config(parameters, answer, samples)))


def _config(parameters: Parameters, answer: str, samples: int) -> Config:
    config = example_config(parameters)
    panel = config.panel.model_copy(update={"answer": answer, "samples": samples})
    examples = config.task.examples if answer != "chain_of_thought" else []
    task = config.task.model_copy(update={"examples": examples})
    return config.model_copy(update={"panel": panel, "task": task})


def _read_prompts(parameters: Parameters, labels: Sequence[str]) -> list[Prompt]:
    answer = AnswerSchema(tuple(labels), logprobs=True, read=True)
    system = f"What is the text about? Answer with one of: {', '.join(labels)}."
    asked = _prompts(parameters, "read", 1)[: parameters["exact_texts"]]
    return [
        prompt._replace(
            messages=({"role": "system", "content": system}, prompt.messages[-1]),
            answer=answer,
            sampling=Sampling(0.0, 1.0, 16),
        )
        for prompt in asked
    ]


def _banking_labels(parameters: Parameters) -> tuple[str, ...] | None:
    try:
        return tuple(labelled_set(parameters["data"], "banking77", "train", rows=1, seed=0).labels)
    except ConfigError as error:
        say(f"77 labels are left out: {error}")
        return None
