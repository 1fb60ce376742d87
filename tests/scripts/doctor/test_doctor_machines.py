"""On each machine doctor says what is there and what to type, and is done in less than a second without torch."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.fake_machine import MACHINES, build
from xpoll.engine.devices.stacks import stack
from xpoll.scripts.doctor.intel import intel_findings
from xpoll.scripts.doctor.stack import stack_findings

MODERN = {"torch": "2.14.0+xpu", "vllm": "0.33.0+xpu", "vllm-xpu-kernels": "0.1.16.2", "triton": "3.8.0+xpu"}
FROM_PYPI = {"torch": "2.14.0", "vllm": "0.33.0"}
MENDS: dict[str, dict[str, str]] = {
    "max-1100": {},
    "max-1100-x4": {},
    "max-1550-x8": {},
    "arc-and-integrated": {},
    "arc-b70": {},
    "one-gone": {"gpu 0000:4d:00.0": "/sys/bus/pci/devices/0000:4d:00.0/reset"},
    "no-driver": {"gpu 0000:3b:00.0": "sudo modprobe i915; sudo dmesg | grep -i i915"},
    "container-with-one-of-two": {"gpu 0000:3a:00.0": "docker run --device /dev/dri -v /dev/dri/by-path"},
    "no-permission": {"gpu 0000:3b:00.0": "sudo usermod -aG render $USER, then log in again"},
}
"""What is not well on a machine, by subject, and what is to be typed."""


@pytest.fixture
def machine(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    name: str = request.param
    if name == "no-permission":  # root may open every file
        monkeypatch.setattr(os, "access", lambda path, mode: "dri" not in str(path))
    monkeypatch.setenv("XPOLL_SYSFS", str(build(tmp_path, name)))
    libraries = tmp_path / "usr/lib64"
    libraries.mkdir(parents=True)
    for file in ("libze_loader.so.1", "libze_intel_gpu.so.1.15.38308"):
        (libraries / file).touch()
    (libraries / "libze_intel_gpu.so.1").symlink_to("libze_intel_gpu.so.1.15.38308")
    return name


def not_well(versions: Mapping[str, str]) -> dict[str, str]:
    """What to type, by subject, of every warning and error."""
    found = [*intel_findings({}), *stack_findings(versions.get, lambda _: [], {})]
    return {finding.subject: finding.mend for finding in found if finding.level != "ok"}


def test_every_machine_is_here() -> None:
    assert MENDS.keys() == MACHINES.keys()


@pytest.mark.parametrize("machine", MENDS, indirect=True)
def test_what_is_wrong_with_a_machine_is_all_that_is_said_to_be(machine: str) -> None:
    found = not_well(MODERN)
    assert found.keys() == MENDS[machine].keys()
    for subject, mend in MENDS[machine].items():
        assert mend in found[subject]


@pytest.mark.parametrize("machine", MENDS, indirect=True)
def test_pypi_s_vllm_is_an_error_wherever_a_card_can_be_used(machine: str) -> None:
    has_usable = machine not in ("no-driver", "no-permission")
    assert ("vllm for XPU" in not_well(FROM_PYPI)) == has_usable
    if has_usable:
        assert not_well(FROM_PYPI)["vllm for XPU"].startswith(stack("modern").install)


COMMAND = """
import sys
sys.modules["torch"] = None
from xpoll.scripts.cli import main
raise SystemExit(main(["doctor", "--json"]))
"""


def test_doctor_takes_less_than_a_second_without_torch(tmp_path: Path) -> None:
    """Of processor time, the least of five: others may have the machine as well."""
    environment = {**os.environ, "XPOLL_SYSFS": str(build(tmp_path, "max-1550-x8"))}
    taken_s = []
    for _ in range(5):
        before = os.times()
        done = subprocess.run(
            [sys.executable, "-c", COMMAND], cwd=ROOT, env=environment, capture_output=True, text=True
        )
        after = os.times()
        assert done.returncode in (0, 1), done.stderr
        taken_s.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert min(taken_s) < 1.0, taken_s
