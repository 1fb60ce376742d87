"""`doctor --probe` compares what PyTorch sees with what the kernel shows; PyTorch is a stand-in here."""

import os
from pathlib import Path

import pytest

from tests.support.fake_machine import ARC_B60, build, max_1550
from xpoll.scripts.doctor.finding import Finding
from xpoll.scripts.doctor.probe import probe_findings

TORCH = """
import os

bfloat16 = "bfloat16"
{before}

class _Ones:
    def __init__(self, side):
        self.side = side
    def __matmul__(self, other):
        return self
    def sum(self):
        return self.side ** 3 - {error}

def ones(rows, columns, dtype, device):
    assert dtype == bfloat16 and device.startswith("xpu:")
    return _Ones(rows)

class _About:
    name, total_memory = "Intel(R) Data Center GPU Max 1100", 48 * 2**30

class xpu:
    device_count = staticmethod(lambda: {seen})
    get_device_properties = staticmethod(lambda i: _About)
    mem_get_info = staticmethod(lambda i: ({free}, _About.total_memory))

class _Cache:
    @staticmethod
    def getMemoryInfo(i):
        return {free_by_vllm}, _About.total_memory

class ops:
    _C_cache_ops = _Cache
"""
MASKED = 'len(os.environ["ZE_AFFINITY_MASK"].split(","))'


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XPOLL_SYSFS", str(build(tmp_path, "max-1100-x4")))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("ONEAPI_DEVICE_SELECTOR", "opencl:cpu")
    monkeypatch.delenv("ZE_AFFINITY_MASK", raising=False)
    return tmp_path


def probed(machine: Path, *, kernels: bool = False, **changed: object) -> list[Finding]:
    values = {"before": "", "error": 0, "seen": MASKED, "free": 40 * 2**30, "free_by_vllm": 40 * 2**30, **changed}
    if kernels:
        (machine / "vllm_xpu_kernels").mkdir(exist_ok=True)
        (machine / "vllm_xpu_kernels/_C.py").touch()
    (machine / "torch.py").write_text(TORCH.format(**values))
    return probe_findings()


def test_four_cards_that_work_are_four_findings(machine: Path) -> None:
    found = probed(machine, before='assert "ONEAPI_DEVICE_SELECTOR" not in os.environ')
    assert [(each.subject, each.level) for each in found] == [(f"probe xpu:{i}", "ok") for i in range(4)]
    assert (
        found[0].found
        == "Intel(R) Data Center GPU Max 1100: 40.0 of 48.0 GiB free by PyTorch, multiplies bf16 matrices"
    )


def test_a_batch_system_s_mask_is_kept(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZE_AFFINITY_MASK", "1,3")
    assert [each.subject for each in probed(machine)] == ["probe xpu:1", "probe xpu:3"]


@pytest.mark.parametrize(
    ("changed", "level", "said"),
    [
        ({"seen": 0}, "error", "PyTorch sees 0 GPUs where the kernel shows 4 of Intel Data Center GPU Max 1100"),
        ({"free": 0}, "warning", "free memory reads 0"),
        ({"error": 1}, "error", "262143 instead of 262144"),
        ({"before": "raise ImportError('libsycl.so.9: undefined symbol urDeviceWaitExp')"}, "error", "urDeviceWaitExp"),
    ],
)
def test_what_is_wrong_is_said(machine: Path, changed: dict[str, object], level: str, said: str) -> None:
    found = probed(machine, **changed)[0]
    assert found.level == level
    assert said in found.found
    assert found.why and found.mend


def test_nothing_is_started_where_there_is_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XPOLL_SYSFS", str(build(tmp_path, ())))
    assert probe_findings() == []


def test_free_memory_is_what_vllm_s_own_operator_reads(machine: Path) -> None:
    """On Max PyTorch tells it and the kernels of vLLM read 0, so that the engine dies where PyTorch is content."""
    assert [each.level for each in probed(machine, kernels=True, free_by_vllm=0)] == ["warning"] * 4
    found = probed(machine, kernels=True, free=0)[0]
    assert (found.level, "by vLLM's operator" in found.found) == ("ok", True)


# What PyTorch enumerates (c10/xpu): the discrete GPUs of the first Level Zero driver that has any, and there is one
# driver per family; an integrated one is shown only where no discrete one is.
ENUMERATED = """
from xpoll.engine.devices.affinity import given, places
from xpoll.engine.devices.intel_cards import read_cards
shown = given(places(read_cards(), "FLAT"))
families = [place.card.product.family for place in shown if place.card.is_discrete]
"""


@pytest.mark.parametrize(
    ("cards", "numbers"),
    [("arc-and-integrated", [1, 2, 3]), ("arc-b70", [1]), ("max-and-arc", [0, 1, 2])],
)
def test_an_integrated_gpu_or_another_family_beside_the_cards_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cards: str, numbers: list[int]
) -> None:
    for name in ("ZE_AFFINITY_MASK", "ZE_ENABLE_PCI_ID_DEVICE_ORDER"):
        monkeypatch.delenv(name, raising=False)
    machine = build(tmp_path, (max_1550("01"), ARC_B60) if cards == "max-and-arc" else cards)
    monkeypatch.setenv("XPOLL_SYSFS", str(machine))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    found = probed(tmp_path, before=ENUMERATED, seen="families.count(families[0]) if families else len(shown)")
    assert [(each.subject, each.level) for each in found] == [(f"probe xpu:{number}", "ok") for number in numbers]
