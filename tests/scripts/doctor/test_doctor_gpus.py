"""Each thing that can be wrong with Intel GPUs and the versions around them is found and can be mended."""

import sys
from pathlib import Path

import pytest

from tests.support.fake_machine import FakeCard, build
from xpoll.scripts.doctor.checks import exit_code
from xpoll.scripts.doctor.finding import Finding
from xpoll.scripts.doctor.intel import intel_findings
from xpoll.scripts.doctor.stack import KERNELS, number, stack_findings

MODERN = {"torch": "2.14.0+xpu", "vllm": "0.33.0+xpu", "vllm-xpu-kernels": "0.1.16.2", "triton": "3.8.0+xpu"}
LTS = {"torch": "2.10.0+xpu", "vllm": "0.15.0", "intel-extension-for-pytorch": "2.10.10+xpu", "triton-xpu": "3.6.0"}


def by_subject(findings: list[Finding]) -> dict[str, Finding]:
    for finding in findings:
        if finding.level != "ok":
            assert finding.why and finding.mend, f"without why or mend: {finding}"
    return {finding.subject: finding for finding in findings}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XPOLL_SYSFS", str(build(tmp_path, "max-1100")))
    return tmp_path


def test_a_machine_that_lacks_the_loader_is_told_which_package_brings_it(machine: Path) -> None:
    found = by_subject(intel_findings({}))
    assert "libze1" in found["Level Zero loader"].mend
    libraries = machine / "usr/lib/x86_64-linux-gnu"
    libraries.mkdir(parents=True)
    for name in ("libze_loader.so.1", "libze_intel_gpu.so.1"):
        (libraries / name).touch()
    assert exit_code(intel_findings({})) == 0


def test_a_foreign_sycl_runtime_is_found_only_if_it_comes_first(machine: Path) -> None:
    oneapi = machine / "opt/intel/oneapi/2025.1/lib"
    oneapi.mkdir(parents=True)
    (oneapi / "libur_loader.so.0").touch()
    before = by_subject(intel_findings({"LD_LIBRARY_PATH": f"{oneapi}:{sys.prefix}/lib"}))["oneAPI"]
    assert before.level == "warning"
    assert before.mend == f"export LD_LIBRARY_PATH={sys.prefix}/lib:$LD_LIBRARY_PATH"
    after = by_subject(intel_findings({"LD_LIBRARY_PATH": f"{sys.prefix}/lib:{oneapi}"}))["oneAPI"]
    assert after.level == "ok"


def test_the_environment_s_masks_are_shown_and_mended(machine: Path) -> None:
    found = by_subject(intel_findings({"ZE_AFFINITY_MASK": "0", "ONEAPI_DEVICE_SELECTOR": "level_zero:0"}))
    assert found["ZE_AFFINITY_MASK"].found == "0: devices 0"
    assert found["ONEAPI_DEVICE_SELECTOR"].mend == "unset ONEAPI_DEVICE_SELECTOR"
    nothing = by_subject(intel_findings({"ZE_AFFINITY_MASK": "5"}))["ZE_AFFINITY_MASK"]
    assert (nothing.level, nothing.mend) == ("warning", "unset ZE_AFFINITY_MASK")


@pytest.mark.parametrize(
    ("card", "said", "mend"),
    [
        (FakeCard("0x0bda", "0000:3b:00.0", driver=""), "no driver", "sudo modprobe i915; sudo dmesg | grep -i i915"),
        (FakeCard("0xe211", "0000:3b:00.0", driver=""), "no driver", "sudo modprobe xe; sudo dmesg | grep -i xe"),
        (FakeCard("0x0bda", "0000:3b:00.0", has_render_node=False), "no render node", "--device /dev/dri"),
    ],
)
def test_a_card_without_driver_or_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, card: FakeCard, said: str, mend: str
) -> None:
    monkeypatch.setenv("XPOLL_SYSFS", str(build(tmp_path, (card,))))
    (found,) = intel_findings({})
    assert said in found.found
    assert mend in found.mend
    assert stack_findings(MODERN.get) == [], "nothing is said of versions where no card can be used"


@pytest.mark.parametrize("stack", [MODERN, LTS], ids=["modern", "lts"])
def test_both_stacks_are_found_well(machine: Path, stack: dict[str, str]) -> None:
    found = stack_findings(stack.get)
    assert exit_code(found) == 0, found


@pytest.mark.parametrize(
    ("changed", "subject", "mend"),
    [
        ({"torch": "2.13.0+cpu"}, "torch for XPU", "wheels.vllm.ai"),
        ({"torch": "2.13.0+xpu"}, "vllm-xpu-kernels", "pip install 'torch==2.14.*'"),
        ({"vllm-xpu-kernels": None}, "vllm-xpu-kernels", "vllm-xpu-kernels"),
        ({"torch": "2.12.0+xpu", "vllm-xpu-kernels": "0.1.11"}, "free memory", "vllm-xpu-kernels>=0.1.15"),
        ({"vllm": "0.15.0"}, "intel-extension-for-pytorch", "lts stack"),
        ({"triton": "3.8.0"}, "triton", "pip uninstall triton"),
    ],
)
def test_versions_that_do_not_fit_each_other_are_named(
    machine: Path, changed: dict[str, str | None], subject: str, mend: str
) -> None:
    stack = {**MODERN, **changed}
    if changed.get("torch", "").endswith("+cpu"):  # type: ignore[union-attr]
        stack["vllm"] = "0.32.0"
    found = by_subject(stack_findings(stack.get))[subject]
    assert found.level == "warning", found
    assert mend in found.mend


def test_the_memory_bug_is_one_of_max_cards_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XPOLL_SYSFS", str(build(tmp_path, "arc-and-integrated")))
    stack = {**MODERN, "torch": "2.13.0+xpu", "vllm-xpu-kernels": "0.1.12"}
    assert exit_code(stack_findings(stack.get)) == 0


def test_versions_are_compared_by_their_numbers() -> None:
    assert number("0.15.0rc1+xpu") == (0, 15, 0)
    assert [pairing.last for pairing in KERNELS] == sorted(pairing.last for pairing in KERNELS)
    assert number("2.10.0a0+git12") == (2, 10, 0)
