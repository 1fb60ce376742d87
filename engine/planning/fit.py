"""Whether a model fits onto a device, before anything is started: weights, and the KV cache of the asked context.

What activations take is only known to a running engine and is not counted: what does not fit here
cannot fit there, what barely fits here may still not.
"""

from collections.abc import Sequence
from math import inf
from typing import Any, NamedTuple

from xpoll.core.config import EngineConfig
from xpoll.core.errors import EngineError
from xpoll.engine.devices.find import Device
from xpoll.engine.planning.kv_cache import BLOCK_SIZE, cache_bytes_of, memory_gib_of, options_of
from xpoll.engine.planning.model_shape import ModelShapeOnDisk, shape_of


class MemoryFit(NamedTuple):
    """The memory of one device under a job's settings; None throughout where something is not known.

    Attributes:
        fits: Whether one sequence of the asked context fits beside the weights.
        memory_gib: Of the device.
        weights_gib: Of the device's share of the weights.
        kv_cache_gib: Left for keys and values.
        context_tokens: What is asked: engine.vllm.max_model_len, else the model's own.
        most_context_tokens: The largest max_model_len that fits.
        sequences: How many sequences of that context fit at once.
        why: Why it does not fit or cannot be told, and the setting that does; empty where it fits.
    """

    fits: bool | None
    memory_gib: float | None = None
    weights_gib: float | None = None
    kv_cache_gib: float | None = None
    context_tokens: int | None = None
    most_context_tokens: int | None = None
    sequences: float | None = None
    why: str = ""


def fit_of(config: EngineConfig, device: Device) -> MemoryFit:
    """How the model of a job fits onto one of its devices."""
    shape = shape_of(config.model)
    if shape is None:
        return MemoryFit(None, why=f"the shape of {config.model} is not known before it is downloaded")
    options = options_of(config, device)
    token_bytes, room = shape.kv_bytes_per_token(options), cache_bytes_of(shape, options, device)
    asked = options.get("max_model_len") or shape.context_tokens
    if token_bytes is None or room is None or not isinstance(asked, int):
        unknown = "memory of the device" if memory_gib_of(device) is None else "the size of weights or context"
        return MemoryFit(None, why=f"not known before the start: {unknown}")
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
    return found if found.fits else found._replace(why=_advice(found, shape, options, device))


def _advice(found: MemoryFit, shape: ModelShapeOnDisk, options: dict[str, Any], device: Device) -> str:
    """The largest setting that fits."""
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
    """The device with the least memory, where a machine has several kinds; the first where that is not known."""
    return min(devices, key=lambda device: memory_gib_of(device) or inf)


def require_fit(config: EngineConfig, devices: Sequence[Device]) -> None:
    """Refuses a job whose model cannot fit onto one of its GPUs, before minutes are spent on loading it.

    Raises:
        EngineError: says what is missing, and the largest setting that fits.
    """
    device = tightest(devices)
    if device.kind == "cpu":  # vLLM says so itself, and at once
        return
    found = fit_of(config, device)
    if found.fits is False:
        what, _, mend = found.why.partition(": ")
        raise EngineError(f"{config.model} does not fit onto {device.name}: {what}", mend=mend)
