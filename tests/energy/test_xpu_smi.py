"""xpu-smi 1.3 and 2.x: outputs made as their sources make them, and a tool that takes the options that each takes."""

import os
import sys
import time
from pathlib import Path

import pytest

from tests.support.xpu_smi import dump_1_3, dump_2, install, printing
from xpoll.energy.counters import CounterError
from xpoll.energy.sources import find_counters
from xpoll.energy.stages import measured_stage, read_stages
from xpoll.energy.xpu_smi import DumpReader, find_xpu_smi

SECONDS = [0.0, 1.0, 3.0]
POWERS_W = {0: [100.0, 200.0, 300.0], 1: [10.0, 20.0, 30.0]}
ENERGIES_J = {0: [95554.67, 95835.17, 96000.0], 1: [81234.5, 81354.75, 81400.0]}
INTEGRAL_J = {0: 200 * 1.0 + 300 * 2.0, 1: 20 * 1.0 + 30 * 2.0}


def read_all(lines: list[str]) -> dict[str, float]:
    clock_s = [0.0]
    reader = DumpReader(lambda: clock_s[0])
    latest: dict[str, float] = {}
    for line in lines:
        if line[0].isdigit():  # all lines of one interval are printed at once
            clock_s[0] = SECONDS[int(line[6:8]) - 46]
        latest |= reader(line)
    return latest


def test_1_3_has_a_counter_of_the_device() -> None:
    lines = dump_1_3(POWERS_W, ENERGIES_J)
    assert read_all(lines) == {"gpu0 (device)": 96000.0, "gpu1 (device)": 81400.0}


def test_1_3_without_the_counter_integrates_power_and_says_so() -> None:
    lines = dump_1_3(POWERS_W, {0: [None] * 3, 1: [None] * 3})
    assert read_all(lines) == {f"gpu{gpu} (device, power integrated)": INTEGRAL_J[gpu] for gpu in (0, 1)}


def test_2_integrates_the_cards_power_and_leaves_the_counter_of_its_compute_engines_alone() -> None:
    lines = dump_2(POWERS_W, ENERGIES_J)
    assert read_all(lines) == {f"gpu{gpu} (card, power.draw integrated)": INTEGRAL_J[gpu] for gpu in (0, 1)}


def test_an_interval_in_which_the_counter_of_2_stood_still_is_bridged() -> None:
    lines = dump_2({0: [100.0, None, 300.0]}, {0: [1.0, 2.0, 3.0]})
    assert read_all(lines) == {"gpu0 (card, power.draw integrated)": 300 * 3.0}


def test_lines_without_a_figure_and_lines_of_tiles_count_nothing() -> None:
    reader = DumpReader()
    lines = [
        "Timestamp, DeviceId, TileId, GPU Power (W), GPU Energy Consumed (J)",
        "06:14:46.000,    0,  0, 100.00, 5.0",
    ]
    lines += ["06:14:46.000,    0,  , N/A, N/A", "Warning: an interval below 50 ms is not accurate for power"]
    assert [reader(line) for line in lines] == [{}] * 4


@pytest.mark.parametrize(
    ("version", "measured"),
    [("1.3", "xpu-smi gpu0 (device)"), ("2.0", "xpu-smi gpu0 (card, power.draw integrated)")],
)
def test_the_installed_tool_is_started_with_options_that_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, measured: str
) -> None:
    install(tmp_path, version)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    found = find_counters("xpu", {"xpu": {"xpu-smi": find_xpu_smi}}, {})
    assert found.why.startswith("the processor is not counted") or not found.why
    with measured_stage(tmp_path / "stages.json", "vote", found):
        time.sleep(0.5)
    (stage,) = read_stages(tmp_path / "stages.json")
    assert [counter.name for counter in found.counters] == [measured], found.why
    assert stage["energy"]["why"].startswith(f"{stage['wall_s']:.3f} s is too short"), "a line a second needs 10 s"


def test_the_tool_is_started_and_each_card_becomes_a_counter(tmp_path: Path) -> None:
    counters = find_xpu_smi(printing(tmp_path, *dump_1_3(POWERS_W, ENERGIES_J))).counters
    try:
        assert [counter.name for counter in counters] == ["xpu-smi gpu0 (device)", "xpu-smi gpu1 (device)"]
        deadline_s = time.monotonic() + 20
        while counters[1].read_j() != 81400.0 and time.monotonic() < deadline_s:
            time.sleep(0.01)
        assert [counter.read_j() for counter in counters] == [96000.0, 81400.0]
    finally:
        counters[0].close()


def test_a_tool_that_ends_stops_its_counters_with_its_last_line(tmp_path: Path) -> None:
    lines = dump_2({0: [100.0, 200.0]}, {0: [1.0, 2.0]})
    command = printing(tmp_path, *lines, then="time.sleep(0.5)\nprint('Device lost', flush=True)")
    (counter,) = find_xpu_smi(command).counters
    deadline_s = time.monotonic() + 20
    with pytest.raises(CounterError, match=r"has ended \(Device lost\)"):
        while time.monotonic() < deadline_s:
            counter.read_j()
            time.sleep(0.02)


def test_a_tool_that_finds_no_device_says_why(tmp_path: Path) -> None:
    found = find_xpu_smi(printing(tmp_path, "Error: No device discovered", then="raise SystemExit(1)"))
    assert not found.counters
    assert found.why == "xpu-smi: Error: No device discovered"


def test_a_tool_that_is_not_there_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_xpu_smi().why == "xpu-smi is not installed"
    assert "cannot be started" in find_xpu_smi([str(tmp_path / "xpu-smi")]).why


def test_the_stand_in_refuses_what_the_other_version_takes(tmp_path: Path) -> None:
    """Else the test above could not fail."""
    for version, refused in (("1.3", "--interval"), ("2.0", "-m"), ("2.0", "-i")):
        tool = install(tmp_path, version)
        found = find_xpu_smi([sys.executable, "-I", "-S", str(tool), "dump", "-d", "-1", refused, "1"])
        assert "not expected" in found.why
