"""Backends that answer the same prompts on this machine's CPU, side by side: start, rate, and how often they agree.

Each arm is an engine in a subprocess, as a worker starts it, without Ray and journal; arms take turns. The prompts are
those of examples/investor_sentiment at temperature 0, all of them in flight at once as in a run.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from xpoll.benchmarks.runner.records import Parameters, Record
from xpoll.benchmarks.runner.subprocess_call import call_in_subprocess, peak_memory_mib
from xpoll.benchmarks.workloads.example_job import example_config, example_prompts
from xpoll.core.errors import EngineError
from xpoll.core.models import resolve_model
from xpoll.core.progress import say
from xpoll.core.records import Prompt
from xpoll.engine.answer import answer_of
from xpoll.engine.backends.backend import BackendSettings
from xpoll.engine.backends.registry import make_backend
from xpoll.engine.devices.find import find_devices, pinning

ARMS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "vllm": ("vllm", {}),
    "openvino fp16": ("openvino", {"weights": "fp16"}),
    "openvino int8": ("openvino", {"weights": "int8"}),
    "openvino int4": ("openvino", {"weights": "int4"}),
}
"""Name of an arm to its backend and the backend's options."""


def measure(parameters: Parameters) -> Iterator[Record]:
    """One record per arm and repeat; each is held against the first arm of its repeat."""
    resolve_model(parameters["model"], key="parameters.model")  # prepares a packaged model before the clock starts
    device = find_devices("cpu", 1)[0]
    log = Path(tempfile.gettempdir()) / f"xpoll-bench-backends-{os.getpid()}.log"
    if parameters["convert_first"]:
        for arm in [each for each in parameters["arms"] if each.startswith("openvino")]:
            say(f"converting for {arm}")
            call_in_subprocess(answer_all, {**parameters, "documents": 1}, arm, environment=pinning(device), log=log)
    for repeat in range(parameters["repeats"]):
        first: Record | None = None
        for arm in parameters["arms"]:
            say(f"repeat {repeat}: {arm}")
            found = call_in_subprocess(answer_all, parameters, arm, environment=pinning(device), log=log)
            first = first or found
            yield {"arm": arm, "repeat": repeat, **held_against(first, found)}
    log.unlink(missing_ok=True)


def held_against(first: Record, found: Record) -> Record:
    """The figures of an arm, and how its rate and its labels compare with those of another one."""
    labels, others = found["labels"], first["labels"]
    figures = {name: value for name, value in found.items() if name != "labels"}
    return figures | {
        "rate_of_first": round(found["documents_per_s"] / first["documents_per_s"], 4),
        "start_of_first": round(found["start_s"] / first["start_s"], 4),
        "agreement": round(sum(map(str.__eq__, labels, others)) / len(others), 4),
    }


def answer_all(parameters: Parameters, arm: str) -> Record:
    """Start and answers of one arm; to be called in a subprocess."""
    return asyncio.run(_answered(parameters, arm))


async def _answered(parameters: Parameters, arm: str) -> Record:
    name, options = ARMS[arm]
    prompts = _prompts(parameters)
    device = find_devices("cpu", 1)[0]
    settings = BackendSettings(parameters["model"], device, "bench", {**options, **parameters.get(name, {})})
    backend = make_backend(name, settings)
    begun_s = time.perf_counter()
    await backend.start()
    start_s = time.perf_counter() - begun_s
    begun_s = time.perf_counter()
    completions = await asyncio.gather(*(answer_of(backend, prompt) for prompt in prompts))
    wall_s = time.perf_counter() - begun_s
    backend.stop()
    if errors := [each.error for each in completions if each.error_kind]:
        raise EngineError(f"{len(errors)} prompts were not answered: {errors[0]}")
    return {
        "start_s": round(start_s, 2),
        "wall_s": round(wall_s, 2),
        "documents_per_s": round(parameters["documents"] / wall_s, 4),
        "output_tokens": sum(each.output_tokens for each in completions),
        "peak_memory_mib": peak_memory_mib(),
        "labels": [each.text or "" for each in completions],
    }


def _prompts(parameters: Parameters) -> Sequence[Prompt]:
    config = example_config(parameters)
    panel = config.panel.model_copy(update={"answer": parameters["answer"], "temperature": 0.0})
    return list(example_prompts(parameters, config.model_copy(update={"panel": panel})))
