"""Draws personas of a file so that their mix has stated marginals, e.g. of age, region and occupation.

One pass counts the cells of all columns together, iterative proportional fitting gives each cell its share, a second
pass draws uniformly within the cells. Memory grows with the cells and the draw, not with the file.
"""

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

import numpy as np

from xpoll.core.errors import InputError
from xpoll.core.formatting import number as grouped
from xpoll.core.sameness import word_of
from xpoll.core.tables.readers import stream_rows
from xpoll.personas.persona import Persona
from xpoll.personas.persona_file import hub_persona, noun_phrase, problem_of_persona

Marginals = Mapping[str, Mapping[str, float]]
"""Column to its values and their shares, which sum to 1."""

ROUNDS = 200
CLOSE = 1e-6
"""Largest distance of a share from the wanted one at which fitting ends."""


class Mix(NamedTuple):
    """Personas drawn by marginals.

    Attributes:
        personas: In an order that is a draw itself.
        wanted: The marginals.
        reached: Those of the draw.
        outside: Rows of the file whose value of a column is none of those wanted, which are not drawn.
        read: Rows of the file.
    """

    personas: list[Persona]
    wanted: Marginals
    reached: Marginals
    outside: int
    read: int

    @property
    def largest_gap(self) -> float:
        """The largest distance of a share from the wanted one, 0 to 1."""
        return max(abs(self.reached[c][v] - share) for c, shares in self.wanted.items() for v, share in shares.items())

    def lines(self) -> list[str]:
        """The mix in words, a line for each column."""
        lines = [
            f"{column}: " + ", ".join(f"{v} {self.reached[column][v]:.1%} (wanted {s:.1%})" for v, s in shares.items())
            for column, shares in self.wanted.items()
        ]
        if self.outside:
            lines.append(f"{grouped(self.outside)} of {grouped(self.read)} personas have none of these values")
        return lines


def draw_by_marginals(path: str, marginals: Marginals, *, number: int, seed: int) -> Mix:
    """Personas of a file whose mix is as near to the marginals as the file allows.

    Args:
        path: A file of personas with a column for each marginal, as `stream_rows` takes it.
        marginals: The wanted shares.
        number: How many to draw; fewer where the file has fewer that fit.
        seed: Of the draw.

    Raises:
        InputError: the file cannot be read, lacks a column, or none of its personas fit.
    """
    columns = list(marginals)
    have: Counter[tuple[str, ...]] = Counter()
    read = 0
    for cell, _ in _personas(path, columns):
        read += 1
        if cell is not None:
            have[cell] += 1
    have = Counter({cell: n for cell, n in have.items() if all(cell[i] in marginals[c] for i, c in enumerate(columns))})
    if not have:
        raise InputError(f"personas: no row of {path} has values of {', '.join(columns)} that are wanted")
    cells = sorted(have)
    counts = np.array([have[cell] for cell in cells], float)
    weights = rake(cells, counts, [marginals[column] for column in columns])
    quota = dict(zip(cells, allotted(weights, counts.astype(int), number).tolist(), strict=True))
    chosen = {cell: _Smallest(quota[cell]) for cell in cells if quota[cell]}
    key = str(seed).encode()[:64]
    for cell, text in _personas(path, columns):
        if cell in chosen:
            chosen[cell].take(_rank(text, key), text)
    drawn = sorted((-rank, text, cell) for cell, kept in chosen.items() for rank, text in kept.heap)
    reached = {
        column: {value: sum(cell[i] == value for _, _, cell in drawn) / len(drawn) for value in marginals[column]}
        for i, column in enumerate(columns)
    }
    personas = [hub_persona(text, source=path) for _, text, _ in drawn]
    return Mix(personas, marginals, reached, read - int(counts.sum()), read)


def rake(cells: Sequence[tuple[str, ...]], counts: np.ndarray, marginals: Sequence[Mapping[str, float]]) -> np.ndarray:
    """(cells,): the share of each cell, by iterative proportional fitting from the counts.

    Values that no cell has are left out, and the shares of their column scaled to the rest.

    Source: W. Deming and F. Stephan, "On a least squares adjustment of a sampled frequency table", 1940.

    Args:
        cells: The cells, each with its value of every column.
        counts: (cells,) above 0.
        marginals: Wanted shares, column by column.
    """
    shares = counts / counts.sum()
    groups = []
    for column, wanted in enumerate(marginals):
        values = sorted({cell[column] for cell in cells})
        target = np.array([wanted.get(value, 0.0) for value in values])
        if not target.sum():
            continue
        groups.append((np.array([values.index(cell[column]) for cell in cells]), target / target.sum()))
    for _ in range(ROUNDS):
        worst = 0.0
        for place, target in groups:
            now = np.bincount(place, shares, len(target))
            worst = max(worst, float(np.abs(now - target).max()))
            shares = shares * np.divide(target, now, out=np.zeros_like(target), where=now > 0)[place]
        if worst < CLOSE:
            break
    return np.asarray(shares / shares.sum())


def allotted(weights: np.ndarray, available: np.ndarray, number: int) -> np.ndarray:
    """(cells,): how many of each cell are drawn, at most as many as there are; what one lacks goes to the others.

    Args:
        weights: (cells,) shares that sum to 1.
        available: (cells,) how many there are.
        number: How many are wanted.
    """
    quota = np.zeros(len(weights), int)
    left = min(number, int(available[weights > 0].sum()))
    while left:
        room = np.where((quota < available) & (weights > 0), weights, 0.0)
        wanted = room / room.sum() * left
        added = np.minimum(np.floor(wanted).astype(int), available - quota)
        if not added.sum():  # the largest remainders, one each
            order = np.argsort(-np.where(room > 0, wanted, -1.0), kind="stable")[:left]
            added[order[room[order] > 0]] = 1
        quota += added
        left -= int(added.sum())
    return quota


class _Smallest:
    """The texts with the smallest hashes, each once; `heap` holds the hashes negated."""

    def __init__(self, most: int) -> None:
        self.heap: list[tuple[int, str]] = []
        self._most = most
        self._inside: set[int] = set()

    def take(self, rank: int, text: str) -> None:
        if rank in self._inside or (len(self.heap) == self._most and -rank <= self.heap[0][0]):
            return
        self._inside.add(rank)
        if len(self.heap) < self._most:
            heapq.heappush(self.heap, (-rank, text))
        else:
            self._inside.discard(-heapq.heappushpop(self.heap, (-rank, text))[0])


def _rank(text: str, key: bytes) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8, key=key).digest(), "little")


def _personas(path: str, columns: Sequence[str]) -> Iterator[tuple[tuple[str, ...] | None, str]]:
    """Each usable persona with its cell, None where it lacks a value."""
    for row in stream_rows(path, key="personas", needs=("persona", *columns)):
        value = row.values.get("persona")
        if row.problem or problem_of_persona(value):
            continue
        words = [word_of(row.values.get(column)) for column in columns]
        yield (None if None in words else tuple(map(str, words))), noun_phrase(str(value))
