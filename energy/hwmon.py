"""Intel GPUs through sysfs: the hwmon folders of the kernel drivers i915 and xe. No library, no tool.

Which files count is said in core/machine/hwmon.py. Tiles are read only where the card cannot be.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from xpoll.core.machine.hwmon import EnergyInput, energy_inputs
from xpoll.energy.counters import CounterError, FileCounter, SourceCounters, read_microjoules

RESOLUTION_S = 0.1  # Intel's guide to Sysman, which reads the same counters, asks for at least 100 ms between reads
INTEL = "0x8086"


def find_hwmon(sysfs: Path = Path("/sys")) -> SourceCounters:
    """One counter per Intel card, or one per tile of it; its name ends in what it covers: card, package or tile.

    Args:
        sysfs: Root of the sys file system.
    """
    cards = [card for card in sorted(sysfs.glob("class/drm/card*")) if re.fullmatch(r"card\d+", card.name)]
    counters: list[FileCounter] = []
    problems: list[str] = []
    for card in cards:
        if _text(card / "device" / "vendor") != INTEL:
            continue
        groups = energy_inputs(card / "device")
        readable = next((group for group in groups if not _problems(group, card.name)), None)
        if readable is None:
            problems += _problems(groups[0], card.name) if groups else [f"{card.name} has no energy counter"]
        else:
            counters += [
                FileCounter(_name(found, card.name), found.path, resolution_s=RESOLUTION_S) for found in readable
            ]
    if problems:  # some of the cards would pass for all of them
        return SourceCounters([], "; ".join(problems))
    return SourceCounters(counters, "" if counters else f"no Intel GPU in {sysfs}/class/drm")


def _name(found: EnergyInput, card: str) -> str:
    return f"hwmon {found.hwmon} {card} ({found.domain})"


def _problems(group: Sequence[EnergyInput], card: str) -> list[str]:
    problems = []
    for found in group:
        try:
            read_microjoules(found.path)
        except CounterError as error:
            problems.append(f"{_name(found, card)}: {error}")
    return problems


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""
