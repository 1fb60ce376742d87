"""Level Zero's enumeration of devices, and ZE_AFFINITY_MASK, which restricts a process to some of them.

A mask counts what Level Zero enumerates: every Intel GPU whose render node can be opened, integrated ones
too, in the order of PCI addresses. In FLAT mode each tile of a Max card counts, in COMPOSITE mode each card.
Source: the Level Zero specification of ZE_AFFINITY_MASK, and compute-runtime.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from xpoll.engine.devices.intel_cards import Card

Hierarchy = Literal["FLAT", "COMPOSITE"]


class Place(NamedTuple):
    """One Level Zero device.

    Attributes:
        number: Its number in a mask.
        card: Its card.
        tile: Number of the tile; None for the whole card.
    """

    number: int
    card: Card
    tile: int | None


def places(cards: Sequence[Card], hierarchy: Hierarchy) -> list[Place]:
    """The devices that Level Zero enumerates without a mask.

    Args:
        cards: All Intel cards, by PCI address.
        hierarchy: Whether tiles (FLAT) or cards (COMPOSITE) are devices.
    """
    shown: list[Place] = []
    for card in cards:
        if card.problem:
            continue
        split = hierarchy == "FLAT" and card.tiles > 1
        shown += [Place(len(shown) + i, card, i if split else None) for i in range(card.tiles if split else 1)]
    return shown


def given(shown: Sequence[Place], environment: Mapping[str, str] = os.environ) -> list[Place]:
    """The devices that the mask of this process allows; a batch system sets one for its job.

    An empty mask counts as none: Ray sets that where a task asks for no GPU.

    Args:
        shown: All devices, as `places` returns them.
        environment: Environment variables.
    """
    mask = environment.get("ZE_AFFINITY_MASK", "")
    if not mask.strip():
        return list(shown)
    composite = environment.get("ZE_FLAT_DEVICE_HIERARCHY", "FLAT").upper() == "COMPOSITE"
    cards = list(dict.fromkeys(place.card.pci_address for place in shown))
    allowed = [place for entry in mask.split(",") for place in _matching(entry.strip(), shown, cards, composite)]
    return sorted(set(allowed), key=lambda place: place.number)


def _matching(entry: str, shown: Sequence[Place], cards: Sequence[str], composite: bool) -> list[Place]:
    """The devices of one entry of a mask: a number, or in COMPOSITE mode "card" or "card.tile"."""
    number, _, tile = entry.partition(".")
    if not number.isdigit() or (tile and not tile.isdigit()):
        return []
    if not composite and not tile:
        return [place for place in shown if place.number == int(number)]
    address = cards[int(number)] if int(number) < len(cards) else None
    of_card = [place for place in shown if place.card.pci_address == address]
    return [place for place in of_card if not tile or place.tile in (None, int(tile))]
