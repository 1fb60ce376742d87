"""How many prompt tokens an engine can hold, as far as that can be told before it starts."""

import json
from typing import Any

from core.config import Engine
from core.models import model_file
from engine.backends.rooflines import ROOFLINES
from engine.backends.vllm import default_options
from engine.devices import Device, pinning
from engine.prefix import Cache

BLOCK_SIZE = 16  # vLLM's own, where neither xpoll nor the job sets one
MEMORY_SHARE = 0.92  # vLLM's own gpu_memory_utilization
ROOFLINE_OF = {"Intel Data Center GPU Max 1100": "max-1100", "Intel Data Center GPU Max 1550": "max-1550-tile"}
VALUE_BYTES = {"float32": 4, "float": 4, "bfloat16": 2, "float16": 2, "half": 2}


def cache_of(config: Engine, device: Device) -> Cache:
    """The KV cache of one engine under [engine.vllm] and xpoll's defaults.

    On a GPU what activations take is not known before the start, so its size is at most this.
    """
    options = {**default_options(device), **config.vllm}
    block = int(options.get("block_size") or BLOCK_SIZE)
    return Cache(block, _num_blocks(config.model, options, block, device), bool(options["enable_prefix_caching"]))


def _num_blocks(model: str, options: dict[str, Any], block: int, device: Device) -> int | None:
    if override := options.get("num_gpu_blocks_override"):
        return int(override)
    if any(options.get(f"{kind}_parallel_size", 1) != 1 for kind in ("tensor", "pipeline")):
        return None
    token_bytes, cache_bytes = _bytes_per_token(model, options), _cache_bytes(model, options, device)
    if token_bytes is None or cache_bytes is None:
        return None
    return max(0, cache_bytes // (token_bytes * block))


def _cache_bytes(model: str, options: dict[str, Any], device: Device) -> int | None:
    if device.kind == "cpu":  # the environment wins over kv_cache_memory_bytes there
        return int(pinning(device)["VLLM_CPU_KVCACHE_SPACE"]) * 2**30
    if isinstance(set_bytes := options.get("kv_cache_memory_bytes"), int):
        return set_bytes
    weights = model_file(model, "model.safetensors") or model_file(model, "model.safetensors.index.json")
    roofline = ROOFLINES.get(ROOFLINE_OF.get(device.name, ""))
    if weights is None or roofline is None:
        return None
    weight_bytes = sum(file.stat().st_size for file in weights.parent.glob("*.safetensors"))
    share = float(options.get("gpu_memory_utilization", MEMORY_SHARE))
    return int(roofline.memory_gib * 2**30 * share) - weight_bytes


def _bytes_per_token(model: str, options: dict[str, Any]) -> int | None:
    """Keys and values of one token in all layers; None where config.json does not say it in the usual keys."""
    file = model_file(model, "config.json")
    if file is None:
        return None
    outer = json.loads(file.read_text(encoding="utf-8"))
    shape = outer.get("text_config", outer)
    heads, layers = shape.get("num_attention_heads"), shape.get("num_hidden_layers")
    if not heads or not layers or "kv_lora_rank" in shape:
        return None
    head_dim = shape.get("head_dim") or shape["hidden_size"] // heads
    dtype = options.get("dtype", "auto")
    if dtype == "auto":
        dtype = outer.get("dtype") or outer.get("torch_dtype")
    value_bytes = 1 if str(options.get("kv_cache_dtype", "auto")).startswith("fp8") else VALUE_BYTES.get(str(dtype))
    if value_bytes is None:
        return None
    return int(2 * layers * shape.get("num_key_value_heads", heads) * head_dim * value_bytes)
