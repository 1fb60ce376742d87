"""The shape of a model, which decides its memory and speed: from config.json or, for some hub models, a table.

Reads files of this machine only: no network access, no heavy import.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from xpoll.core.files import json_value
from xpoll.core.models import model_file
from xpoll.engine.planning.rooflines import MODEL_SHAPES

VALUE_BYTES = {"float32": 4, "float": 4, "bfloat16": 2, "float16": 2, "half": 2}

HUB_SHAPES = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": "smollm2-135m",
    "smollm2-135m-instruct": "smollm2-135m",
    "meta-llama/Llama-3.1-8B-Instruct": "llama-3.1-8b",
    "Qwen/Qwen2.5-7B-Instruct": "qwen2.5-7b",
    "Qwen/Qwen2.5-14B-Instruct": "qwen2.5-14b",
    "Qwen/Qwen2.5-32B-Instruct": "qwen2.5-32b",
}
"""Models whose shape is known before they are downloaded."""


class ModelShapeOnDisk(NamedTuple):
    """The shape of one model.

    Attributes:
        layers: Number of layers with a KV cache.
        kv_heads: Heads of keys and values per layer.
        head_dim: Values per head.
        dtype: Of its weights, as its config says; None where it does not.
        weight_bytes: Size of its files, or of as many parameters in bf16 for a model that is not on this
            machine; None where it is not known.
        num_params: Number of parameters; None where it is not known.
        context_tokens: Longest context in tokens; None where it is not known.
    """

    layers: int
    kv_heads: int
    head_dim: int
    dtype: str | None
    weight_bytes: int | None
    num_params: int | None
    context_tokens: int | None

    def kv_bytes_per_token(self, options: Mapping[str, Any]) -> int | None:
        """Bytes of the keys and values of one token in all layers; None where the dtype is not known.

        Args:
            options: vLLM's engine options, which may set another dtype.
        """
        dtype = options.get("dtype", "auto")
        if dtype == "auto":
            dtype = self.dtype
        is_fp8 = str(options.get("kv_cache_dtype", "auto")).startswith("fp8")
        value_bytes = 1 if is_fp8 else VALUE_BYTES.get(str(dtype))
        return None if value_bytes is None else 2 * self.layers * self.kv_heads * self.head_dim * value_bytes


def shape_of(model: str) -> ModelShapeOnDisk | None:
    """The shape of a model; None where its config lacks the usual keys.

    Also None for models whose KV cache does not grow by the same number of bytes with each token (latent
    attention, sliding windows, layers without attention).

    Args:
        model: Packaged model, folder, or name on the Hugging Face hub.
    """
    file = model_file(model, "config.json")
    if file is not None:
        return _from_config(json_value(file.read_text(encoding="utf-8")), _weight_bytes(model))
    known = MODEL_SHAPES.get(HUB_SHAPES.get(model, ""))
    if known is None:
        return None
    return ModelShapeOnDisk(
        known.num_layers,
        known.num_kv_heads,
        known.head_dim,
        "bfloat16",
        int(known.weight_bytes),
        known.num_params,
        known.context_tokens,
    )


def _from_config(outer: dict[str, Any], weight_bytes: int | None) -> ModelShapeOnDisk | None:
    shape = outer.get("text_config", outer)
    heads, layers = shape.get("num_attention_heads"), shape.get("num_hidden_layers")
    if not heads or not layers or "kv_lora_rank" in shape or _has_other_caches(shape):
        return None
    dtype = outer.get("dtype") or outer.get("torch_dtype")
    quantised = "quantization_config" in outer
    per_weight = None if quantised else VALUE_BYTES.get(str(dtype))
    return ModelShapeOnDisk(
        layers=layers,
        kv_heads=shape.get("num_key_value_heads") or heads,
        head_dim=shape.get("head_dim") or shape["hidden_size"] // heads,
        dtype=dtype,
        weight_bytes=weight_bytes,
        num_params=weight_bytes // per_weight if weight_bytes and per_weight else None,
        context_tokens=shape.get("max_position_embeddings"),
    )


def _has_other_caches(shape: dict[str, Any]) -> bool:
    kinds = set(shape.get("layer_types") or [])
    windowed = bool(shape.get("sliding_window")) and shape.get("use_sliding_window", True)
    return bool(kinds - {"full_attention"}) or (windowed and not kinds)


def _weight_bytes(model: str) -> int | None:
    weights = model_file(model, "model.safetensors") or model_file(model, "model.safetensors.index.json")
    return sum(file.stat().st_size for file in Path(weights).parent.glob("*.safetensors")) or None if weights else None
