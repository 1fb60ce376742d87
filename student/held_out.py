"""Which voted rows are kept out of training, to judge it by their votes."""

import random
from collections.abc import Sequence
from typing import NamedTuple

from xpoll.core.records import Consensus

FEWEST = 30
"""Fewer rows than this say less about a student than they are worth to train on."""


class HeldOut(NamedTuple):
    """Numbers of rows, each ascending."""

    train: list[int]
    held_out: list[int]


def split(rows: Sequence[Consensus], *, share: float, seed: int) -> HeldOut:
    """Draws `share` of the rows of each label; none if that would be fewer than FEWEST in all.

    A label keeps more rows than it gives: one that has a single row gives none.
    """
    by_label: dict[str | None, list[int]] = {}
    for number, row in enumerate(rows):
        by_label.setdefault(row.label, []).append(number)
    draw = random.Random(f"held out {seed}")
    drawn: set[int] = set()
    for _, numbers in sorted(by_label.items(), key=lambda item: str(item[0])):
        drawn.update(draw.sample(numbers, min(round(share * len(numbers)), (len(numbers) - 1) // 2)))
    if len(drawn) < FEWEST:
        drawn = set()
    return HeldOut([i for i in range(len(rows)) if i not in drawn], sorted(drawn))
