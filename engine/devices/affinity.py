"""Level Zero's enumeration of devices, and ZE_AFFINITY_MASK, which restricts a process to some of them.

A mask counts what Level Zero enumerates: every Intel GPU whose render node can be opened, integrated ones
too. With ZE_ENABLE_PCI_ID_DEVICE_ORDER=1, which xpoll's own processes have, in the order of PCI addresses; without it
the discrete ones come first. In FLAT mode each tile of a Max card counts, in COMPOSITE mode each card.
Source: the Level Zero specification of ZE_AFFINITY_MASK, and compute-runtime (execution_environment.cpp).
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal, NamedTuple

from xpoll.engine.devices.intel_cards import Card

Hierarchy = Literal["FLAT", "COMPOSITE"]

NARROWING = ("ZE_AFFINITY_MASK", "ONEAPI_DEVICE_SELECTOR")
"""Variables of a user's shell that Ray compares with the GPUs that it is told of, and reads in one spelling only."""


class Place(NamedTuple):
    """One Level Zero device.

    Attributes:
        number: Its number in a mask of xpoll's, which counts by PCI address.
        card: Its card.
        tile: Number of the tile; None for the whole card.
    """

    number: int
    card: Card
    tile: int | None


def places(cards: Sequence[Card], hierarchy: Hierarchy) -> list[Place]:
    """The devices that Level Zero enumerates without a mask, by PCI address.

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

    The mask is read as Level Zero would read it in this environment. An empty one counts as none: Ray sets that where
    a task asks for no GPU.

    Args:
        shown: All devices, as `places` returns them.
        environment: Environment variables.
    """
    mask = environment.get("ZE_AFFINITY_MASK", "")
    if mask.strip() in ("", "default"):
        return list(shown)
    by_address = environment.get("ZE_ENABLE_PCI_ID_DEVICE_ORDER", "0").strip() == "1"
    counted = sorted(shown, key=lambda place: 0 if by_address or place.card.is_discrete else 1)
    composite = _hierarchy(shown, environment) == "COMPOSITE"
    allowed = [place for entry in mask.split(",") for place in _matching(entry.strip(), counted, composite)]
    return sorted(set(allowed), key=lambda place: place.number)


def _hierarchy(shown: Sequence[Place], environment: Mapping[str, str]) -> str:
    """How the user's own processes count: the default is FLAT on Data Center GPU Max, COMPOSITE on other cards."""
    default = "FLAT" if any(place.card.product.family == "max" for place in shown) else "COMPOSITE"
    return environment.get("ZE_FLAT_DEVICE_HIERARCHY", "").strip().upper() or default


def _matching(entry: str, counted: Sequence[Place], composite: bool) -> list[Place]:
    """The devices of one entry of a mask: a number, or in COMPOSITE mode "card" or "card.tile".

    In FLAT and COMBINED mode Level Zero passes over an entry with a point. There a number counts tiles, also where the
    devices are whole cards: a card is allowed if one of its tiles is.
    """
    number, _, tile = entry.partition(".")
    if not number.isdigit() or (tile and not tile.isdigit()) or (tile and not composite):
        return []
    if not composite:
        tiles = [place for place in counted for _ in range(place.card.tiles if place.tile is None else 1)]
        return [tiles[int(number)]] if int(number) < len(tiles) else []
    cards = list(dict.fromkeys(place.card.pci_address for place in counted))
    address = cards[int(number)] if int(number) < len(cards) else None
    of_card = [place for place in counted if place.card.pci_address == address]
    return [place for place in of_card if not tile or place.tile in (None, int(tile))]


@contextmanager
def not_narrowed() -> Iterator[None]:
    """The block without the variables that narrow what a process sees; afterwards they are as before.

    Ray refuses to start where they name fewer GPUs than it is told of, e.g. "level_zero:gpu", or "0" for a card of two
    tiles. Workers get masks of their own.
    """
    kept = {name: os.environ.pop(name) for name in NARROWING if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)
