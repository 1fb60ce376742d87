"""Whether a model fits into a device's memory, before anything starts: weights, and the KV cache of one context.

The memory for activations is known only to a running engine and is not counted: a model that does not fit by
this count cannot fit at all, and one that barely fits may still fail to start.
"""

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

from xpoll.core.config.job import EngineConfig
from xpoll.core.errors import EngineError
from xpoll.core.results import Part
from xpoll.engine.devices.find import Device
from xpoll.engine.planning.kv_cache import BLOCK_SIZE, cache_bytes_of, engine_options, memory_gib_of
from xpoll.engine.planning.model_shape import ModelShapeOnDisk, shape_of


class MemoryFit(Part):
    """The memory of one device under a job's settings; figures that are not known are None.

    Attributes:
        fits: Whether one sequence of `context_tokens` fits beside the weights.
        memory_gib: The device's memory, in GiB.
        weights_gib: The device's share of the weights, in GiB.
        kv_cache_gib: Memory left for keys and values, in GiB.
        context_tokens: Context to fit: engine.vllm.max_model_len, or else the model's own.
        most_context_tokens: The largest max_model_len that fits.
        sequences: How many sequences of `context_tokens` fit at once.
        why: Why it does not fit or is not known, with a setting that fits; empty where it fits.
    """

    fits: bool | None
    memory_gib: float | None = None
    weights_gib: float | None = None
    kv_cache_gib: float | None = None
    context_tokens: int | None = None
    most_context_tokens: int | None = None
    sequences: float | None = None
    why: str = ""


def fit_of(model: str, shape: ModelShapeOnDisk | None, options: Mapping[str, Any], device: Device) -> MemoryFit:
    """How a model fits onto one device.

    Args:
        model: Its name, for messages.
        shape: Its shape; None where it is not known.
        options: The engine's options, as `engine_options` returns them.
        device: The device.
    """
    if shape is None:
        return MemoryFit(fits=None, why=f"the shape of {model} is not known before it is downloaded")
    token_bytes, room = shape.kv_bytes_per_token(options), cache_bytes_of(shape, options, device)
    asked = options.get("max_model_len") or shape.context_tokens
    if token_bytes is None or room is None or not isinstance(asked, int):
        unknown = "memory of the device" if memory_gib_of(device) is None else "the size of weights or context"
        return MemoryFit(fits=None, why=f"not known before the start: {unknown}")
    token_bytes = max(1, token_bytes // device.parallel)
    block = int(options.get("block_size") or BLOCK_SIZE)
    most = max(0, room // (token_bytes * block) * block)
    weights = None if shape.weight_bytes is None else shape.weight_bytes / device.parallel
    found = MemoryFit(
        fits=most >= asked,
        memory_gib=memory_gib_of(device),
        weights_gib=None if weights is None else round(weights / 2**30, 2),
        kv_cache_gib=round(room / 2**30, 2),
        context_tokens=asked,
        most_context_tokens=min(most, shape.context_tokens or most),
        sequences=round(most / asked, 1),
    )
    return found if found.fits else found.model_copy(update={"why": _advice(found, shape, options, device)})


def _advice(found: MemoryFit, shape: ModelShapeOnDisk, options: Mapping[str, Any], device: Device) -> str:
    """Names the largest setting that fits."""
    if found.most_context_tokens:
        where = "VLLM_CPU_KVCACHE_SPACE" if device.kind == "cpu" else f"{found.memory_gib:g} GiB"
        return (
            f"a context of {found.context_tokens} tokens needs more KV cache than {where} leaves "
            f"({found.kv_cache_gib:g} GiB): engine.vllm.max_model_len = {found.most_context_tokens} fits"
        )
    what = f"{found.weights_gib:g} GiB of weights leave no room for a KV cache in {found.memory_gib:g} GiB"
    for spanned in (2, 4, 8, 16):
        if spanned <= device.parallel:
            continue
        room = cache_bytes_of(shape, options, _spanning(device, spanned))
        token_bytes = shape.kv_bytes_per_token(options)
        if room is not None and token_bytes and room > found.context_tokens * token_bytes // spanned:  # type: ignore[operator]
            return f"{what}: engine.tensor_parallel = {spanned} fits, with {spanned} such devices for one engine"
    return f"{what}: take a smaller or a quantised model"


def _spanning(device: Device, number: int) -> Device:
    return Device(device.kind, device.index, device.name, parallel=number, memory_gib=device.memory_gib)


def tightest(devices: Sequence[Device]) -> Device:
    """The device with the least memory; the first one where no memory size is known."""
    return min(devices, key=lambda device: memory_gib_of(device) or inf)


def require_fit(config: EngineConfig, devices: Sequence[Device]) -> None:
    """Checks that the model fits onto each GPU of a job, before minutes are spent on loading it.

    Args:
        config: The engine section.
        devices: The devices of the job, at least one.

    Raises:
        EngineError: it does not fit; with the largest setting that does.
    """
    device = tightest(devices)
    if device.kind == "cpu":  # vLLM itself checks this at once
        return
    found = fit_of(config.model, shape_of(config.model), engine_options(config.table("vllm"), device), device)
    if found.fits is False:
        what, _, mend = found.why.partition(": ")
        raise EngineError(f"{config.model} does not fit onto {device.name}: {what}", mend=mend)
