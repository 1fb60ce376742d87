"""NVML by a stand-in module that is loaded as the real one is."""

import textwrap
from pathlib import Path

import pytest

from xpoll.energy.nvml import find_nvml

NVML = """
    class NVMLError(Exception):
        pass

    millijoules = [5000, 7000]

    def nvmlInit():
        if not DRIVER:
            raise NVMLError("Driver Not Loaded")

    def nvmlDeviceGetCount():
        return len(millijoules)

    def nvmlDeviceGetHandleByIndex(number):
        return number

    def nvmlDeviceGetTotalEnergyConsumption(handle):
        if not SUPPORTED:
            raise NVMLError("Not Supported")
        millijoules[handle] += 1500
        return millijoules[handle]
"""


@pytest.mark.parametrize(
    ("driver", "supported", "why"),
    [(True, True, ""), (False, True, "Driver Not Loaded"), (True, False, "nvml gpu0: Not Supported")],
)
def test_nvml_counts_every_gpu_or_says_why_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver: bool, supported: bool, why: str
) -> None:
    name = f"nvml_{driver}_{supported}"
    (tmp_path / f"{name}.py").write_text(f"DRIVER, SUPPORTED = {driver}, {supported}\n{textwrap.dedent(NVML)}")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = find_nvml(name)
    assert found.why == why
    assert [counter.name for counter in found.counters] == (["nvml gpu0", "nvml gpu1"] if not why else [])
    assert [counter.read_j() for counter in found.counters] == ([1.5, 1.5] if not why else [])


def test_without_nvidias_package_nvml_says_so() -> None:
    assert find_nvml("a_package_that_is_not_there").why == "nvidia-ml-py is not installed"
