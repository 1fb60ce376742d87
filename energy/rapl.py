"""The processor through RAPL: /sys/class/powercap/intel-rapl:*, which AMD processors have too.

A package includes its cores; its memory ("dram") has a separate counter; "psys", the whole platform, includes
the packages and is left out. Since Linux 5.10 only root may read it, and containers often hide it.
"""

import re
from pathlib import Path

from xpoll.energy.counters import MICRO, CounterError, FileCounter, SourceCounters, read_microjoules

RESOLUTION_S = 0.001


def find_rapl(sysfs: Path = Path("/sys")) -> SourceCounters:
    """One counter per package, and one per package's memory where it has one.

    Args:
        sysfs: Root of the sys file system.
    """
    base = sysfs / "class" / "powercap"
    zones = [zone for zone in sorted(base.glob("intel-rapl:*")) if re.fullmatch(r"intel-rapl:\d+(:\d+)?", zone.name)]
    counters = []
    for zone in zones:
        try:
            name = (zone / "name").read_text(encoding="ascii").strip()
        except OSError:
            continue
        is_part = zone.name.count(":") == 2
        if name == "psys" or (is_part and name != "dram"):
            continue
        label = f"rapl {zone.name.removeprefix('intel-rapl:')} {name}"
        try:
            range_j = read_microjoules(zone / "max_energy_range_uj") * MICRO
            read_microjoules(zone / "energy_uj")
        except CounterError as error:
            return SourceCounters([], f"{label}: {error}")
        counters.append(FileCounter(label, zone / "energy_uj", resolution_s=RESOLUTION_S, range_j=range_j))
    return SourceCounters(counters, "" if counters else f"no RAPL in {base}")
