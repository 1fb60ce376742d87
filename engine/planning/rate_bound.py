"""How fast a run can be at best: the roofline of its devices, with the source of their peaks.

A bound and not a promise: kernels reach a share of the peaks, attention's own arithmetic and the host
are left out, and every answer is taken to be as long as it may.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from xpoll.core.config import EngineConfig
from xpoll.engine.backends.vllm.in_process import MAX_NUM_SEQS
from xpoll.engine.devices.find import Device
from xpoll.engine.devices.intel_products import product_named
from xpoll.engine.planning.kv_cache import cache_of, options_of
from xpoll.engine.planning.model_shape import shape_of
from xpoll.engine.planning.rooflines import ROOFLINES, ModelShape, Roofline, decode_step_s, prefill_s


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


class TokensEach(NamedTuple):
    """Of one prompt: what is computed, since the prefix cache does not spare it; all; and the answer's."""

    computed: float
    prompt: float
    answer: int


def rate_bound(config: EngineConfig, devices: Sequence[Device], *, prompts: int, tokens: TokensEach) -> dict[str, Any]:
    """The rate that the devices allow at most, as plain JSON types; `why` says so where it cannot be told.

    Args:
        config: The engine section.
        devices: Where engines will run, one each; of several kinds the rates add up.
        prompts: Number of prompts of the run.
        tokens: Of one of them.
    """
    known = shape_of(config.model)
    if known is None or known.num_params is None or known.weight_bytes is None:
        return {"prompts_per_s": None, "why": f"the number of weights of {config.model} is not known"}
    shape = ModelShape(
        known.num_params, known.layers, known.kv_heads, known.head_dim, known.weight_bytes / known.num_params
    )
    prompts_per_s, found = 0.0, []
    for device, number in Counter(replace(device, index=0, numbers=(), pci_address="") for device in devices).items():
        peaks = roofline_of(device)
        if peaks is None:
            return {"prompts_per_s": None, "why": f"no peaks of {device.name} are known"}
        running = _running(config, device, tokens)
        prompts_per_s += number / _seconds_each(peaks, shape, running, tokens)
        found.append((peaks, running))
    return {
        "prompts_per_s": round(prompts_per_s, 1),
        "wall_s": round(prompts / prompts_per_s, 1),
        "running": [running for _, running in found],
        "roofline": [peaks.name for peaks, _ in found],
        "source": [peaks.source for peaks, _ in found],
        "why": "",
    }


def _running(config: EngineConfig, device: Device, tokens: TokensEach) -> int:
    """Prompts in a batch: as many as vLLM takes and the KV cache holds, where its size is known."""
    most = int(options_of(config, device).get("max_num_seqs") or MAX_NUM_SEQS)
    cache = cache_of(config, device)
    if cache.num_blocks is None:
        return most
    return max(1, min(most, int(cache.num_blocks * cache.block_size // (tokens.prompt + tokens.answer))))


def _seconds_each(peaks: Roofline, shape: ModelShape, running: int, tokens: TokensEach) -> float:
    """Of one prompt, its share of the steps that it is in a batch for."""
    context = int(running * (tokens.prompt + tokens.answer / 2))
    decode = decode_step_s(peaks, shape, running, context) * tokens.answer / running
    return prefill_s(peaks, shape, 1) * tokens.computed + decode
