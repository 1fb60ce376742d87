"""Trees of files as sysfs has them, and counters that a test moves."""

from collections.abc import Iterable
from pathlib import Path

from xpoll.energy.counters import CounterError
from xpoll.energy.sources import Counters


def make_card(sysfs: Path, number: int, *, hwmons: dict[str, dict[str, int]], vendor: str = "0x8086") -> Path:
    """A GPU with hwmon folders: name of the driver's part to its energy files in microjoules."""
    device = sysfs / f"class/drm/card{number}/device"
    device.mkdir(parents=True)
    (device / "vendor").write_text(f"{vendor}\n")
    for index, (name, energies) in enumerate(hwmons.items()):
        folder = device / f"hwmon/hwmon{index}"
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"{name}\n")
        for file, microjoules in energies.items():
            (folder / file).write_text(f"{microjoules}\n")
    return device


def make_zone(sysfs: Path, zone: str, name: str, microjoules: int, *, range_microjoules: int = 262_143_328_850) -> Path:
    """A zone of RAPL."""
    folder = sysfs / f"class/powercap/intel-rapl:{zone}"
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "max_energy_range_uj").write_text(f"{range_microjoules}\n")
    (folder / "energy_uj").write_text(f"{microjoules}\n")
    return folder / "energy_uj"


class Scripted:
    """A counter that gives the readings it was told, then the last one for ever; None is a failure."""

    def __init__(self, readings: Iterable[float | None], *, name: str = "scripted", resolution_s: float = 1e-4) -> None:
        self.name, self.resolution_s = name, resolution_s
        self._readings = list(readings)
        self.closed = False

    def read_j(self) -> float:
        reading = self._readings.pop(0) if len(self._readings) > 1 else self._readings[0]
        if reading is None:
            raise CounterError("the counter is gone")
        return reading

    def close(self) -> None:
        self.closed = True


def found(*counters: Scripted) -> Counters:
    """As `find_counters` gives them."""
    return Counters(list(counters), "scripted", "" if counters else "nothing is there")
