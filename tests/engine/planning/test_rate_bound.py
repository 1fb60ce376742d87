"""The rate at most is the roofline's: arithmetic by hand, and devices of several kinds add up."""

from typing import Any

import pytest

from xpoll.engine.devices.find import Device
from xpoll.engine.planning.model_shape import shape_of
from xpoll.engine.planning.rate_bound import RateBound, TokensEach, device_roofline, rate_bound
from xpoll.engine.planning.rooflines import MODEL_SHAPES, ROOFLINES

MAX_1100 = Device("xpu", 0, "Intel Data Center GPU Max 1100", memory_gib=48)
TILE = Device("xpu", 1, "Intel Data Center GPU Max 1550", memory_gib=64)
MODEL = "Qwen/Qwen2.5-7B-Instruct"
TOKENS = TokensEach(computed=100, prompt=400, answer=50)


def bound(*devices: Device, model: str = MODEL, prompts: int = 1000, **vllm: Any) -> RateBound:
    return rate_bound(model, shape_of(model), vllm, devices, prompts=prompts, tokens=TOKENS)


def test_the_rate_is_what_arithmetic_and_bandwidth_allow() -> None:
    peaks, shape = ROOFLINES["max-1100"], MODEL_SHAPES["qwen2.5-7b"]
    prefill_s = 2 * shape.num_params * 100 / (peaks.bf16_tflop_per_s * 1e12)
    read_bytes = shape.num_params * 2 + 256 * (400 + 25) * shape.kv_bytes_per_token
    step_s = max(read_bytes / (peaks.bandwidth_gb_per_s * 1e9), 2 * shape.num_params * 256 / 355e12)
    found = bound(MAX_1100)
    assert found.running == [256]
    assert found.prompts_per_s == pytest.approx(1 / (prefill_s + step_s * 50 / 256), abs=0.1)


def test_devices_of_several_kinds_add_up() -> None:
    alone = [bound(device).prompts_per_s or 0 for device in (MAX_1100, TILE)]
    both = bound(MAX_1100, TILE, TILE)
    assert both.prompts_per_s == pytest.approx(alone[0] + 2 * alone[1], abs=0.2)
    assert both.roofline == ["max-1100", "max-1550-tile"]


def test_a_kv_cache_that_holds_few_prompts_bounds_the_batch() -> None:
    found = bound(MAX_1100, num_gpu_blocks_override=100)
    assert found.running == [100 * 64 // 450]


def test_an_engine_over_several_devices_has_their_peaks_together() -> None:
    two = device_roofline(Device("xpu", 0, "Intel Data Center GPU Max 1100", parallel=2))
    card = device_roofline(Device("xpu", 0, "Intel Data Center GPU Max 1550", hierarchy="COMPOSITE"))
    assert two
    assert card
    assert (two.bandwidth_gb_per_s, card.bf16_tflop_per_s) == (2 * 1228.8, 839)


def test_what_is_not_known_is_said() -> None:
    unknown = Device("cpu", 0, "a processor")
    assert bound(unknown).why == "no peaks of a processor are known"
    assert "some/model is not known" in bound(MAX_1100, model="some/model").why
