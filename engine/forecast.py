"""How fast a run can be at best: the roofline of its devices, with the source of their peaks.

A bound and not a promise: kernels reach a share of the peaks, attention's own arithmetic and the host
are left out, and every answer is taken to be as long as it may.
"""

from dataclasses import replace
from typing import Any

from core.config import Engine
from engine.backends.rooflines import ROOFLINES, ModelShape, Roofline, decode_step_s, prefill_s
from engine.backends.vllm import MAX_NUM_SEQS
from engine.devices import Device
from engine.intel_products import product_named
from engine.kv_cache import options_of
from engine.model_shape import shape_of


def roofline_of(device: Device) -> Roofline | None:
    """Peaks of all that one engine spans, as if they added up; None where none are known."""
    product = product_named(device.name)
    peaks = ROOFLINES.get(product.roofline) if product else None
    if peaks is None or product is None:
        return None
    number = device.parallel * (product.tiles if device.hierarchy == "COMPOSITE" else 1)
    return replace(
        peaks,
        name=peaks.name if number == 1 else f"{number} x {peaks.name}",
        bf16_tflop_per_s=peaks.bf16_tflop_per_s * number,
        bandwidth_gb_per_s=peaks.bandwidth_gb_per_s * number,
        memory_gib=peaks.memory_gib * number,
    )


def forecast(
    config: Engine,
    device: Device,
    *,
    replicas: int,
    prompts: int,
    computed_tokens: float,
    prompt_tokens: float,
    answer_tokens: int,
    cache_tokens: int | None,
) -> dict[str, Any]:
    """The rate that the devices allow at most, as plain JSON types; `why` says so where it cannot be told.

    Args:
        config: The engine section.
        device: One of the devices; the others are taken to be like it.
        replicas: Number of engines.
        prompts: Number of prompts of the run.
        computed_tokens: Of a prompt, what the prefix cache does not spare.
        prompt_tokens: Of a prompt.
        answer_tokens: Of an answer.
        cache_tokens: What the KV cache of an engine holds; None if not known.
    """
    peaks, known = roofline_of(device), shape_of(config.model)
    if peaks is None:
        return {"prompts_per_s": None, "why": f"no peaks of {device.name} are known"}
    if known is None or known.num_params is None or known.weight_bytes is None:
        return {"prompts_per_s": None, "why": f"the number of weights of {config.model} is not known"}
    shape = ModelShape(
        known.num_params, known.layers, known.kv_heads, known.head_dim, known.weight_bytes / known.num_params
    )
    held = prompt_tokens + answer_tokens
    running = int(options_of(config, device).get("max_num_seqs") or MAX_NUM_SEQS)
    if cache_tokens is not None:
        running = max(1, min(running, int(cache_tokens // held)))
    context = int(running * (prompt_tokens + answer_tokens / 2))
    prefill = prefill_s(peaks, shape, 1) * computed_tokens
    decode = decode_step_s(peaks, shape, running, context) * answer_tokens / running
    prompts_per_s = replicas / (prefill + decode)
    return {
        "prompts_per_s": round(prompts_per_s, 1),
        "wall_s": round(prompts / prompts_per_s, 1),
        "decode_share": round(decode / (prefill + decode), 3),
        "running": running,
        "roofline": peaks.name,
        "source": peaks.source,
        "why": "",
    }
