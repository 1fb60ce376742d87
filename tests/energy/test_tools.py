"""xpu-smi, Sysman and NVML, by recorded outputs and by stand-ins that are started and loaded as the real ones are."""

import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from xpoll.energy.counters import CounterError
from xpoll.energy.nvml import find_nvml
from xpoll.energy.sysman import find_sysman
from xpoll.energy.xpu_smi import DumpReader, find_xpu_smi

DUMP_1_3 = """\
Timestamp, DeviceId, GPU Power (W), GPU Energy Consumed (J)
06:14:46.000,    0, 280.50, 95554.67
06:14:46.000,    1, 120.25, 81234.50
06:14:47.000,    0, 281.00, 95835.17
06:14:47.000,    1, 119.75, 81354.75
"""
DUMP_2 = """\
Timestamp,DeviceId,GPU Energy Consumed (J),GPU Power (W)
2026-06-11 06:14:46.000,0,95554.67,280.50
2026-06-11 06:14:47.000,0,95835.17,281.00
"""


def read_all(reader: DumpReader, dump: str) -> dict[str, float]:
    latest: dict[str, float] = {}
    for line in dump.splitlines():
        latest |= reader(line)
    return latest


def test_both_versions_are_read_by_their_header() -> None:
    assert read_all(DumpReader(), DUMP_1_3) == {"gpu0": 95835.17, "gpu1": 81354.75}
    assert read_all(DumpReader(), DUMP_2) == {"gpu0": 95835.17}


def test_power_is_integrated_where_energy_is_not_available_and_the_name_says_so() -> None:
    clock = iter([0.0, 1.0, 3.0])
    dump = """\
    Timestamp, DeviceId, GPU Power (W), GPU Energy Consumed (J)
    06:14:46.000,    0, 100.00,  N/A
    06:14:47.000,    0, 200.00,  N/A
    06:14:49.000,    0, 300.00,  N/A
    """
    assert read_all(DumpReader(lambda: next(clock)), dump) == {"gpu0 (power, integrated)": 200 * 1.0 + 300 * 2.0}


def test_lines_without_a_figure_and_lines_of_tiles_count_nothing() -> None:
    dump = """\
    Timestamp, DeviceId, TileId, GPU Power (W), GPU Energy Consumed (J)
    06:14:46.000,    0,  0, 100.00, 5.0
    06:14:46.000,    0,  , N/A, N/A
    Warning: an interval below 50 ms is not accurate for power
    """
    assert read_all(DumpReader(), dump) == {}


def printing(tmp_path: Path, *lines: str, then: str = "time.sleep(60)") -> list[str]:
    """A command that prints lines as a tool does, and then waits or ends."""
    script = tmp_path / "tool.py"
    body = "".join(f"print({line!r}, flush=True)\n" for line in lines)
    script.write_text(f"import time\n{body}{then}\n")
    return [sys.executable, "-I", "-S", str(script)]


def test_the_tool_is_started_and_each_card_becomes_a_counter(tmp_path: Path) -> None:
    counters = find_xpu_smi(printing(tmp_path, *DUMP_1_3.splitlines())).counters
    try:
        assert [counter.name for counter in counters] == ["xpu-smi gpu0", "xpu-smi gpu1"]
        deadline_s = time.monotonic() + 20
        while counters[1].read_j() != 81354.75 and time.monotonic() < deadline_s:
            time.sleep(0.01)
        assert [counter.read_j() for counter in counters] == [95835.17, 81354.75]
    finally:
        counters[0].close()


def test_a_tool_that_ends_stops_its_counters_with_its_last_line(tmp_path: Path) -> None:
    lines = DUMP_2.splitlines()
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


LEVEL_ZERO = """
    #include <stdint.h>
    typedef struct { uint64_t energy, timestamp; } counter_t;
    static uint64_t now = 1000000;
    uint32_t zesInit(uint32_t flags) { return INIT; }
    static uint32_t list(uint32_t *count, void **handles, uint32_t number) {
        if (handles) for (uint32_t i = 0; i < number; i++) handles[i] = (void *)(uintptr_t)(i + 1);
        else *count = number;
        return 0;
    }
    uint32_t zesDriverGet(uint32_t *count, void **handles) { return list(count, handles, 1); }
    uint32_t zesDeviceGet(void *driver, uint32_t *count, void **handles) { return list(count, handles, CARDS); }
    uint32_t zesDeviceGetCardPowerDomain(void *device, void **domain) { *domain = device; return CARD_DOMAIN; }
    uint32_t zesDeviceEnumPowerDomains(void *device, uint32_t *count, void **handles) {
        return list(count, handles, DOMAINS);
    }
    uint32_t zesPowerGetEnergyCounter(void *domain, counter_t *counter) {
        now += 500000;
        counter->energy = now * (uintptr_t)domain;
        return 0;
    }
"""


def level_zero(tmp_path: Path, *, init: int = 0, cards: int = 2, card_domain: int = 0, domains: int = 0) -> str:
    """A library with the six functions of Sysman that are called."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler on the PATH")
    (tmp_path / "zes.c").write_text(textwrap.dedent(LEVEL_ZERO))
    values = {"INIT": init, "CARDS": cards, "CARD_DOMAIN": card_domain, "DOMAINS": domains}
    flags = [f"-D{name}={value}" for name, value in values.items()]
    library = tmp_path / "libze_loader.so.1"
    command = [compiler, "-shared", "-fPIC", *flags, "-o", str(library), str(tmp_path / "zes.c")]
    subprocess.run(command, check=True, capture_output=True)
    return str(library)


def test_sysman_is_read_in_a_process_of_its_own(tmp_path: Path) -> None:
    counters = find_sysman(level_zero(tmp_path)).counters
    try:
        assert [counter.name for counter in counters] == ["sysman gpu0", "sysman gpu1"]
        before_j = [counter.read_j() for counter in counters]
        deadline_s = time.monotonic() + 20
        while counters[0].read_j() == before_j[0] and time.monotonic() < deadline_s:
            time.sleep(0.02)
        assert all(counter.read_j() > before for counter, before in zip(counters, before_j, strict=True))
    finally:
        counters[0].close()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"init": 0x78000001}, "zesInit answers 0x78000001"),
        ({"cards": 0}, "Level Zero sees no card"),
        ({"card_domain": 0x78000003, "domains": 3}, "has 3 domains"),
    ],
)
def test_sysman_says_why_it_counts_nothing(tmp_path: Path, values: dict[str, int], said: str) -> None:
    assert said in find_sysman(level_zero(tmp_path, **values)).why


def test_a_card_with_one_domain_of_another_kind_is_counted_by_that(tmp_path: Path) -> None:
    counters = find_sysman(level_zero(tmp_path, cards=1, card_domain=0x78000003, domains=1)).counters
    assert [counter.name for counter in counters] == ["sysman gpu0"]
    counters[0].close()


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
