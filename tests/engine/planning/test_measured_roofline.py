"""The simulated engine takes the ceilings that were measured in place of published ones."""

from pathlib import Path
from typing import Any

import pytest

from xpoll.core.errors import ConfigError
from xpoll.core.files import write_json
from xpoll.engine.backends.simulated.draws import SimulatedOptions
from xpoll.engine.planning.rooflines import MODEL_SHAPES, decode_step_s, prefill_s, roofline_of

CEILINGS = [
    {"role": "ceiling", "kernel": "triad", "dtype": "fp32", "gb_per_s": 31.0},
    {"role": "ceiling", "kernel": "copy", "dtype": "fp32", "gb_per_s": 28.0},
    {"role": "ceiling", "kernel": "gemm", "dtype": "bf16", "gflop_per_s": 398.0},
    {"role": "ceiling", "kernel": "gemm", "dtype": "fp32", "gflop_per_s": 140.0},
    {"role": "operator", "kernel": "gemm", "dtype": "bf16", "gflop_per_s": 5.0},
]


def kernels_file(folder: Path, records: list[dict[str, Any]]) -> str:
    write_json(folder / "kernels.json", {"records": records, "environment": {"memory_gib": 23.5}})
    return str(folder / "kernels.json")


def test_measured_ceilings_set_the_times(tmp_path: Path) -> None:
    roofline = roofline_of(kernels_file(tmp_path, CEILINGS))
    assert (roofline.bf16_tflop_per_s, roofline.bandwidth_gb_per_s, roofline.memory_gib) == (0.398, 31.0, 23.5)
    assert roofline.source.startswith("measured by xpoll kernels")
    shape = MODEL_SHAPES["smollm2-135m"]
    assert decode_step_s(roofline, shape, 1, 0) == pytest.approx(shape.weight_bytes / 31e9)
    assert prefill_s(roofline, shape, 100) == pytest.approx(200 * shape.num_params / 398e9)


def test_options_take_a_file_for_the_device_and_for_nothing_else() -> None:
    assert SimulatedOptions(device="kernels.json").device == "kernels.json"
    with pytest.raises(ValueError, match="is none of"):
        SimulatedOptions(device="a100")
    with pytest.raises(ValueError, match="is none of"):
        SimulatedOptions(model_shape="kernels.json")


def test_a_file_without_ceilings_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nor a file of measured ceilings -> xpoll kernels writes such a file"):
        roofline_of(kernels_file(tmp_path, CEILINGS[-1:]))
    with pytest.raises(ConfigError, match="nor a file of measured ceilings"):
        roofline_of(str(tmp_path / "absent.json"))
