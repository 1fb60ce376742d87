"""Intel GPUs through sysfs: the hwmon folders of the kernel drivers i915 and xe. No library, no tool.

i915 has a hwmon named "i915" for the card and, with several tiles, "i915_gt0", "i915_gt1" for these.
xe has one, named "xe": energy1_input is the card, energy2_input the package. A card's counter includes its
tiles, so the tiles are read only where the card cannot be. Names as in compute-runtime's own reader.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from xpoll.energy.counters import CounterError, FileCounter, SourceCounters, read_microjoules

RESOLUTION_S = 0.1  # Intel's guide to Sysman, which reads the same counters, asks for at least 100 ms between reads
INTEL = "0x8086"


def find_hwmon(sysfs: Path = Path("/sys")) -> SourceCounters:
    """One counter per Intel card, or one per tile of it.

    Args:
        sysfs: Root of the sys file system.
    """
    cards = [card for card in sorted(sysfs.glob("class/drm/card*")) if re.fullmatch(r"card\d+", card.name)]
    counters: list[FileCounter] = []
    problems: list[str] = []
    for card in cards:
        if _text(card / "device" / "vendor") != INTEL:
            continue
        tried = [list(group) for group in (_of_card(card), _of_tiles(card))]
        readable = next((group for group in tried if group and not _problems(group)), None)
        if readable is None:
            problems += _problems(tried[0]) or [f"{card.name} has no energy counter"]
        else:
            counters += [FileCounter(name, path, resolution_s=RESOLUTION_S) for name, path in readable]
    if problems:  # some of the cards would pass for all of them
        return SourceCounters([], "; ".join(problems))
    return SourceCounters(counters, "" if counters else f"no Intel GPU in {sysfs}/class/drm")


def _of_card(card: Path) -> Iterator[tuple[str, Path]]:
    for folder in _folders(card):
        driver = _text(folder / "name")
        if driver in ("i915", "xe"):
            inputs = [folder / name for name in ("energy1_input", "energy2_input") if (folder / name).exists()]
            if inputs:
                yield f"hwmon {driver} {card.name}", inputs[0]


def _of_tiles(card: Path) -> Iterator[tuple[str, Path]]:
    for folder in _folders(card):
        driver, path = _text(folder / "name"), folder / "energy1_input"
        if re.fullmatch(r"i915_gt\d+", driver) and path.exists():
            yield f"hwmon {driver} {card.name}", path


def _folders(card: Path) -> list[Path]:
    return sorted((card / "device" / "hwmon").glob("hwmon*"))


def _problems(group: list[tuple[str, Path]]) -> list[str]:
    problems = []
    for name, path in group:
        try:
            read_microjoules(path)
        except CounterError as error:
            problems.append(f"{name}: {error}")
    return problems


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""
