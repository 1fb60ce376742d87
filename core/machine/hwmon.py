"""Which hwmon files of an Intel GPU hold its energy: the one place, for the counters and for what tells of them.

The kernel drivers i915 and xe show energy in microjoules. i915 has a hwmon named "i915" for the card and, with several
tiles, "i915_gt0", "i915_gt1" for these. xe has one, named "xe": energy1_input is the card, energy2_input the package,
which leaves out memory and voltage regulators. Names as in compute-runtime's own reader (level_zero/sysman, Linux).
"""

import re
from pathlib import Path
from typing import Literal, NamedTuple

_OF_A_CARD: dict[str, dict[str, Literal["card", "package"]]] = {
    "i915": {"energy1_input": "card"},
    "xe": {"energy1_input": "card", "energy2_input": "package"},
}
"""Name of a hwmon to its files, the most inclusive one first."""
_OF_A_TILE = re.compile(r"i915_gt\d+")


class EnergyInput(NamedTuple):
    """A file that counts energy in microjoules.

    Attributes:
        hwmon: Name of the hwmon, e.g. "xe".
        domain: What it covers.
        path: The file.
    """

    hwmon: str
    domain: Literal["card", "package", "tile"]
    path: Path


def energy_inputs(device: Path) -> list[list[EnergyInput]]:
    """The groups of files that each cover a whole GPU, most inclusive first; empty where the driver shows none.

    A card's counter includes its tiles, so only one group may be counted.

    Args:
        device: The folder of the PCI device in sysfs.
    """
    named = [(_text(folder / "name"), folder) for folder in sorted(device.glob("hwmon/hwmon*"))]
    card = [
        EnergyInput(name, domain, folder / file)
        for name, folder in named
        for file, domain in _OF_A_CARD.get(name, {}).items()
        if (folder / file).exists()
    ]
    tiles = [
        EnergyInput(name, "tile", folder / "energy1_input")
        for name, folder in named
        if _OF_A_TILE.fullmatch(name) and (folder / "energy1_input").exists()
    ]
    return [group for group in (card[:1], tiles) if group]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
