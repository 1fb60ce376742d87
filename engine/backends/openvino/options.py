"""Options of the openvino backend, `[engine.openvino]`. Imports no OpenVINO."""

import re
from typing import Any, Literal

from pydantic import field_validator

from xpoll.core.config.job import Section

Weights = Literal["fp16", "int8", "int4"]


class OpenVinoOptions(Section):
    """`[engine.openvino]`."""

    device: str = ""
    """OpenVINO's name of the device, e.g. "CPU", "GPU" or "GPU.1"; without it CPU or GPU, as `engine.device` says."""
    weights: Weights | None = None
    """What a model's weights are converted to, once: `fp16` (also without it), `int8` or `int4`, in groups of 32. A
    folder that is exported for OpenVINO has its format already."""
    scheduler: dict[str, Any] = {}
    """Fields of OpenVINO GenAI's SchedulerConfig, passed on verbatim, e.g. {max_num_seqs = 64, cache_size = 4}."""
    properties: dict[str, Any] = {}
    """Properties of the device, passed on verbatim, e.g. {KV_CACHE_PRECISION = "f16", INFERENCE_NUM_THREADS = 8}."""

    @field_validator("device")
    @classmethod
    def _can_batch(cls, device: str) -> str:
        if device and not re.fullmatch(r"CPU|GPU(\.\d+)?", device):
            raise ValueError(f"{device!r}: continuous batching runs on CPU, GPU or GPU.NUMBER")
        return device
