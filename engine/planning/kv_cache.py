"""The size of an engine's KV cache, as far as it is known before the engine starts."""

from collections.abc import Mapping
from typing import Any

from xpoll.engine.backends.vllm.in_process import default_options
from xpoll.engine.devices.find import Device, pinning
from xpoll.engine.devices.intel_products import product_named
from xpoll.engine.planning.model_shape import ModelShapeOnDisk
from xpoll.engine.planning.prefix import Cache
from xpoll.engine.planning.rooflines import ROOFLINES

BLOCK_SIZE = 16  # vLLM's own default, where neither xpoll nor the job sets one
MEMORY_SHARE = 0.92  # vLLM's own default of gpu_memory_utilization


def engine_options(vllm: Mapping[str, Any], device: Device) -> dict[str, Any]:
    """The options of the vLLM engine on a device: [engine.vllm] on top of xpoll's defaults."""
    return {**default_options(device), **vllm}


def cache_of(shape: ModelShapeOnDisk | None, options: Mapping[str, Any], device: Device) -> Cache:
    """The KV cache of one engine; an upper bound on a GPU, where the memory for activations is not known yet.

    Args:
        shape: Of the model; None where it is not known.
        options: The engine's options, as `engine_options` returns them.
        device: Where the engine runs.
    """
    block = int(options.get("block_size") or BLOCK_SIZE)
    return Cache(block, _num_blocks(shape, options, block, device), bool(options["enable_prefix_caching"]))


def _num_blocks(shape: ModelShapeOnDisk | None, options: Mapping[str, Any], block: int, device: Device) -> int | None:
    if override := options.get("num_gpu_blocks_override"):
        return int(override)
    if any(options.get(f"{kind}_parallel_size", 1) != 1 for kind in ("tensor", "pipeline")):
        return None
    if shape is None:
        return None
    token_bytes, cache_bytes = shape.kv_bytes_per_token(options), cache_bytes_of(shape, options, device)
    if token_bytes is None or cache_bytes is None:
        return None
    return max(0, cache_bytes // (token_bytes * block))


def cache_bytes_of(shape: ModelShapeOnDisk, options: Mapping[str, Any], device: Device) -> int | None:
    """Bytes left for the KV cache on one device, or on each device of an engine that spans several.

    Negative where not even the device's share of the weights fits; None where memory or weights are not known.
    """
    if device.kind == "cpu":  # where the environment overrides kv_cache_memory_bytes
        return int(pinning(device)["VLLM_CPU_KVCACHE_SPACE"]) * 2**30
    if isinstance(set_bytes := options.get("kv_cache_memory_bytes"), int):
        return set_bytes
    memory_gib = memory_gib_of(device)
    if shape.weight_bytes is None or memory_gib is None:
        return None
    share = float(options.get("gpu_memory_utilization", MEMORY_SHARE))
    return int(memory_gib * 2**30 * share) - shape.weight_bytes // device.parallel


def memory_gib_of(device: Device) -> float | None:
    """Memory of a device in GiB, from the driver or else from the table of products; None where neither has it."""
    if device.memory_gib is not None:
        return device.memory_gib
    product = product_named(device.name)
    roofline = ROOFLINES.get(product.roofline if product else "")
    return roofline.memory_gib if roofline else None
