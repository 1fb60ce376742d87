"""Loads a model for OpenVINO GenAI: tokenizer, pipeline, and what requests have to know of it."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xpoll.core.errors import EngineError
from xpoll.core.files import read_json
from xpoll.core.machine.cgroups import usable_cores
from xpoll.core.models import context_length, local_model_folder
from xpoll.engine.backends.openvino.conversion import openvino_folder
from xpoll.engine.backends.openvino.options import OpenVinoOptions
from xpoll.engine.backends.openvino.requests import Constraint
from xpoll.engine.backends.openvino.runner import said_by
from xpoll.engine.devices.find import Device, pinning

GPU_CACHE_SHARE = 0.25
"""Share of a GPU's memory that the KV cache gets unless the job says otherwise."""
CACHE_GB = 4
"""The KV cache where the device's memory is not known, in GB."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that can be asked.

    Attributes:
        tokenizer: The tokenizer of Transformers.
        context: Its context in tokens.
        end_tokens: Tokens that end an answer.
        make_pipeline: Loads the weights onto the device; may be called again.
    """

    tokenizer: Any
    context: int
    end_tokens: set[int]
    make_pipeline: Callable[[], Any]

    def one_token(self, *, echo: bool = False, constraint: Constraint | None = None) -> Any:
        """The GenerationConfig of a request for one token with its logprob, or with those of the prompt, too."""
        import openvino_genai

        config = openvino_genai.GenerationConfig()
        config.max_new_tokens, config.logprobs, config.echo = 1, 1, echo
        if constraint is not None:
            config.structured_output_config = openvino_genai.StructuredOutputConfig(
                **{constraint.field: constraint.value}
            )
        return config


def load_model(name: str, options: OpenVinoOptions, device: Device) -> LoadedModel:
    """The model of a job on its device.

    Args:
        name: `engine.model`.
        options: [engine.openvino].
        device: Where it runs.

    Raises:
        EngineError: OpenVINO refuses the device, an option or the model.
        ModelError: there is no such model, or it cannot be converted.
    """
    where = options.device or _openvino_name(device)
    _check_device(where)
    source = local_model_folder(name, key="engine.model")
    folder = openvino_folder(source, options.weights)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    ends = {tokenizer.eos_token_id}
    if (source / "generation_config.json").exists():
        found = read_json(source / "generation_config.json").get("eos_token_id")
        ends |= set(found if isinstance(found, list) else [found])

    def make_pipeline() -> Any:
        return _pipeline(folder, where, options, device)

    context = context_length(str(source)) or int(tokenizer.model_max_length)
    return LoadedModel(tokenizer, context, {end for end in ends if end is not None}, make_pipeline)


def _openvino_name(device: Device) -> str:
    if device.kind == "cuda":
        raise EngineError(
            "engine.backend = 'openvino' computes on processors and Intel GPUs", mend="set engine.device = 'cpu'"
        )
    if device.parallel > 1:
        raise EngineError("engine.backend = 'openvino' computes on one device", mend="leave out engine.tensor_parallel")
    return "CPU" if device.kind == "cpu" else "GPU"  # a GPU's worker sees its own alone


def _check_device(name: str) -> None:
    import openvino

    there = openvino.Core().available_devices
    if not any(name.partition(".")[0] == found.partition(".")[0] for found in there):
        raise EngineError(
            f"OpenVINO sees no {name} (it sees {', '.join(there) or 'nothing'})",
            mend="set engine.openvino.device, or install the device's driver (xpoll doctor)",
        )


def _pipeline(folder: Path, where: str, options: OpenVinoOptions, device: Device) -> Any:
    import openvino_genai

    scheduler = openvino_genai.SchedulerConfig()
    for field, value in ({"cache_size": _cache_gb(device), "enable_prefix_caching": True} | options.scheduler).items():
        if not hasattr(scheduler, field):
            raise EngineError(
                f"engine.openvino.scheduler.{field}: SchedulerConfig has no such field", mend="leave it out"
            )
        try:
            setattr(scheduler, field, value)
        except TypeError as error:
            raise EngineError(
                f"engine.openvino.scheduler.{field}: {value!r} does not fit", mend="see SchedulerConfig"
            ) from error
    cores = len(os.sched_getaffinity(0))
    defaults: Mapping[str, Any] = (
        {"INFERENCE_NUM_THREADS": min(cores, usable_cores()), "sampler_num_threads": cores} if where == "CPU" else {}
    )
    try:
        return openvino_genai.ContinuousBatchingPipeline(
            folder, scheduler, where, {**defaults, **options.properties}, {}
        )
    except RuntimeError as error:
        raise EngineError(
            f"OpenVINO does not load {folder} on {where}: {said_by(error)}", mend="see xpoll.log"
        ) from error


def _cache_gb(device: Device) -> int:
    if device.kind == "cpu":
        return int(pinning(device)["VLLM_CPU_KVCACHE_SPACE"])
    return max(1, int(device.memory_gib * GPU_CACHE_SHARE)) if device.memory_gib else CACHE_GB
