"""How many prompt tokens an engine can hold, as far as that can be told before it starts."""

from typing import Any

from xpoll.core.config import EngineConfig
from xpoll.engine.backends.vllm.in_process import default_options
from xpoll.engine.devices.find import Device, pinning
from xpoll.engine.devices.intel_products import product_named
from xpoll.engine.planning.model_shape import ModelShapeOnDisk, shape_of
from xpoll.engine.planning.prefix import Cache
from xpoll.engine.planning.rooflines import ROOFLINES

BLOCK_SIZE = 16  # vLLM's own, where neither xpoll nor the job sets one
MEMORY_SHARE = 0.92  # vLLM's own gpu_memory_utilization


def options_of(config: EngineConfig, device: Device) -> dict[str, Any]:
    """vLLM's options as the engine on a device is given them."""
    return {**default_options(device), **config.table("vllm")}


def cache_of(config: EngineConfig, device: Device) -> Cache:
    """The KV cache of one engine under [engine.vllm] and xpoll's defaults.

    On a GPU what activations take is not known before the start, so its size is at most this.
    """
    options = options_of(config, device)
    block = int(options.get("block_size") or BLOCK_SIZE)
    return Cache(block, _num_blocks(config.model, options, block, device), bool(options["enable_prefix_caching"]))


def _num_blocks(model: str, options: dict[str, Any], block: int, device: Device) -> int | None:
    if override := options.get("num_gpu_blocks_override"):
        return int(override)
    if any(options.get(f"{kind}_parallel_size", 1) != 1 for kind in ("tensor", "pipeline")):
        return None
    shape = shape_of(model)
    if shape is None:
        return None
    token_bytes, cache_bytes = shape.kv_bytes_per_token(options), cache_bytes_of(shape, options, device)
    if token_bytes is None or cache_bytes is None:
        return None
    return max(0, cache_bytes // (token_bytes * block))


def cache_bytes_of(shape: ModelShapeOnDisk, options: dict[str, Any], device: Device) -> int | None:
    """Bytes that one device, or one part of an engine that spans several, has for its KV cache; negative where
    not even its share of the weights fits. None where memory or weights are not known."""
    if device.kind == "cpu":  # the environment wins over kv_cache_memory_bytes there
        return int(pinning(device)["VLLM_CPU_KVCACHE_SPACE"]) * 2**30
    if isinstance(set_bytes := options.get("kv_cache_memory_bytes"), int):
        return set_bytes
    memory_gib = memory_gib_of(device)
    if shape.weight_bytes is None or memory_gib is None:
        return None
    share = float(options.get("gpu_memory_utilization", MEMORY_SHARE))
    return int(memory_gib * 2**30 * share) - shape.weight_bytes // device.parallel


def memory_gib_of(device: Device) -> float | None:
    """Of the driver, else of the table; None where neither says."""
    if device.memory_gib is not None:
        return device.memory_gib
    product = product_named(device.name)
    roofline = ROOFLINES.get(product.roofline if product else "")
    return roofline.memory_gib if roofline else None
