"""Upper bound on the rate of a run: the roofline of its devices, with the source of their peaks.

A bound and no prediction: kernels reach a share of the peaks, the arithmetic of attention and the host are
left out, and every answer is assumed to have its maximum length.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from xpoll.core.results import Part
from xpoll.engine.backends.vllm.in_process import MAX_NUM_SEQS
from xpoll.engine.devices.find import Device
from xpoll.engine.devices.intel_products import product_named
from xpoll.engine.planning.kv_cache import cache_of, engine_options
from xpoll.engine.planning.model_shape import ModelShapeOnDisk
from xpoll.engine.planning.rooflines import ROOFLINES, ModelShape, Roofline, decode_step_s, prefill_s


class RateBound(Part):
    """The highest rate of a run; `prompts_per_s` is None where it is not known.

    Attributes:
        prompts_per_s: Of all devices together.
        wall_s: Of the whole run, in seconds.
        running: Prompts in a batch, for each product.
        roofline: Name of each product's roofline.
        source: Where its peaks are from.
        why: Why the rate is not known.
    """

    prompts_per_s: float | None
    wall_s: float | None = None
    running: list[int] = []
    roofline: list[str] = []
    source: list[str] = []
    why: str = ""


def device_roofline(device: Device) -> Roofline | None:
    """Sum of the peaks of all GPUs or tiles that one engine spans; None where the product's are not known."""
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
    """Tokens per prompt.

    Attributes:
        computed: Prompt tokens that the prefix cache does not hold.
        prompt: All prompt tokens.
        answer: Most tokens of the answer.
    """

    computed: float
    prompt: float
    answer: int


def rate_bound(
    model: str,
    known: ModelShapeOnDisk | None,
    vllm: Mapping[str, Any],
    devices: Sequence[Device],
    *,
    prompts: int,
    tokens: TokensEach,
) -> RateBound:
    """The highest rate that the devices allow; where it is not known, `why` has the reason.

    Args:
        model: Name of the model, for messages.
        known: Its shape; None where it is not known.
        vllm: [engine.vllm].
        devices: Devices of the run, one engine each; the rates of different products add up.
        prompts: Number of prompts of the run.
        tokens: Tokens per prompt.
    """
    if known is None or known.num_params is None or known.weight_bytes is None:
        return RateBound(prompts_per_s=None, why=f"the number of weights of {model} is not known")
    shape = ModelShape(
        known.num_params, known.layers, known.kv_heads, known.head_dim, known.weight_bytes / known.num_params
    )
    prompts_per_s, found = 0.0, []
    for device, number in Counter(replace(device, index=0, numbers=(), pci_address="") for device in devices).items():
        peaks = device_roofline(device)
        if peaks is None:
            return RateBound(prompts_per_s=None, why=f"no peaks of {device.name} are known")
        running = _running(known, engine_options(vllm, device), device, tokens)
        prompts_per_s += number / _seconds_each(peaks, shape, running, tokens)
        found.append((peaks, running))
    return RateBound(
        prompts_per_s=round(prompts_per_s, 1),
        wall_s=round(prompts / prompts_per_s, 1),
        running=[running for _, running in found],
        roofline=[peaks.name for peaks, _ in found],
        source=[peaks.source for peaks, _ in found],
    )


def _running(shape: ModelShapeOnDisk, options: Mapping[str, Any], device: Device, tokens: TokensEach) -> int:
    """Prompts in a batch: as many as vLLM takes and the KV cache holds, where its size is known."""
    most = int(options.get("max_num_seqs") or MAX_NUM_SEQS)
    cache = cache_of(shape, options, device)
    if cache.num_blocks is None:
        return most
    return max(1, min(most, int(cache.num_blocks * cache.block_size // (tokens.prompt + tokens.answer))))


def _seconds_each(peaks: Roofline, shape: ModelShape, running: int, tokens: TokensEach) -> float:
    """Seconds per prompt: its prefill, and its share of the decode steps of its batch."""
    context = int(running * (tokens.prompt + tokens.answer / 2))
    decode = decode_step_s(peaks, shape, running, context) * tokens.answer / running
    return prefill_s(peaks, shape, 1) * tokens.computed + decode
