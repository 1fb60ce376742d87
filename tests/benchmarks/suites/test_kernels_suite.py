"""What is made of operators' records: agreement with other tools, and efficiencies for the simulated engine."""

from typing import Any

import pytest

from xpoll.benchmarks.suites.kernels import agreement, efficiencies, published_peaks
from xpoll.engine.backends.simulated.draws import SimulatedOptions
from xpoll.scripts.commands.kernels import show_kernels


def operator(kernel: str, bound: str, ceiling_us: float, cold_us: float, **changes: Any) -> dict[str, Any]:
    about = {"role": "operator", "status": "ok", "model": "tiny", "shape": f"{ceiling_us}", "dtype": "bf16"}
    times = {"ceiling_us": ceiling_us, "cold_median_us": cold_us, "warm_median_us": cold_us}
    share = {"percent_of_ceiling": 100 * ceiling_us / cold_us}
    return about | times | share | {"arm": "eager", "kernel": kernel, "bound": bound} | changes


OPERATORS = [
    operator("gemm", "compute", 80.0, 100.0),
    operator("gemm", "compute", 20.0, 100.0),
    operator("gemm", "memory", 30.0, 100.0),
    operator("gemm", "memory", 30.0, 60.0, arm="vllm"),
    operator("gemm", "compute", 1.0, 100.0, dtype="int8"),
    operator("rms_norm", "memory", 1.0, 100.0),
    {"role": "operator", "status": "failed", "kernel": "gemm", "model": "tiny", "shape": "", "dtype": "bf16"},
]


def test_efficiencies_weigh_by_time_and_take_the_best_arm() -> None:
    found = efficiencies(OPERATORS)
    assert found == {"compute_efficiency": 0.5, "bandwidth_efficiency": 0.5}
    SimulatedOptions(device="kernels.json", **found)  # type: ignore[arg-type]
    assert efficiencies(OPERATORS[:2]) == {"compute_efficiency": 0.5}
    assert efficiencies([operator("gemm", "compute", 120.0, 100.0)]) == {"compute_efficiency": 1.0}


def test_our_ceilings_are_divided_by_those_of_the_other_tools() -> None:
    ceilings = [
        {"kernel": "gemm", "dtype": "bf16", "status": "ok", "gflop_per_s": 400.0},
        {"kernel": "gemm", "dtype": "fp32", "status": "ok", "gflop_per_s": 140.0},
        {"kernel": "triad", "dtype": "fp32", "status": "ok", "gb_per_s": 30.0},
    ]
    opinion = {"gemm_gflop_per_s": 100.0, "triad_gb_per_s": 40.0}
    assert agreement(ceilings, opinion) == {"gemm_over_second_opinion": 1.4, "triad_over_second_opinion": 0.75}
    assert agreement(ceilings, {"gemm_gflop_per_s": None, "triad_gb_per_s": None}) == {}
    assert agreement([], opinion) == {}


def test_a_device_without_a_published_peak_has_nulls_and_says_so() -> None:
    found = published_peaks("cpu")
    assert (found["bf16_tflop_per_s"], found["bandwidth_gb_per_s"]) == (None, None)
    assert found["source"] == "no published peak of this device is known"


def test_the_tables_show_ceilings_operators_and_what_failed(capsys: pytest.CaptureFixture[str]) -> None:
    ceiling = {"role": "ceiling", "status": "ok", "shape": "large", "arm": "eager"}
    records = [
        {"role": "published", **published_peaks("cpu"), "device": "cpu"},
        {**ceiling, "kernel": "triad", "dtype": "fp32", "gb_per_s": 30.06},
        {**ceiling, "kernel": "gemm", "dtype": "bf16", "gflop_per_s": 398.4},
        {"role": "second opinion", "gemm_gflop_per_s": 100.0, "triad_gb_per_s": None},
        OPERATORS[0],
        OPERATORS[-1] | {"arm": "vllm", "error": "ImportError: no module"},
    ]
    check = {"name": "triad_over_second_opinion", "value": None, "unit": "of numba's", "holds": False}
    document = {"records": records, "checks": [check], "output": "kernels.json"}
    assert show_kernels(document, as_json=False) == 1
    said = capsys.readouterr().out
    for part in (
        "30.1 GB/s",
        "398 Gflop/s",
        "numba's triad not measured",
        "80 % com",
        "failed: ImportError",
        "DOES NOT",
    ):
        assert part in said, part
    assert 'engine.simulated = {device = "kernels.json", compute_efficiency = 0.8}' in said
