"""The label of every document: read once from labels.parquet, kept as numbers, with a sample of the texts."""

import hashlib
import heapq
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from xpoll.core.record_files import stream_records
from xpoll.core.records import Consensus

T = TypeVar("T")


class Decisions:
    """labels.parquet, read once: the label of every document as a number, the gold rows, and a sample of the texts.

    `row_of` maps document id to row. `final` and `raw` (int16, one per row) are the places of the voted label and of
    the plain majority among the labels, -1 for none. `abstained` counts the reasons.
    """

    def __init__(self, path: Path, labels: Sequence[str], sample_rows: int) -> None:
        """Reads the labels.

        Args:
            path: labels.parquet.
            labels: The task's labels in their order.
            sample_rows: Most rows of `sample`.
        """
        code: dict[str | None, int] = {label: i for i, label in enumerate(labels)} | {None: -1}
        self.row_of: dict[str, int] = {}
        self.abstained: Counter[str] = Counter()
        self.gold: list[Consensus] = []
        final, raw = [], []
        sampler = _Sampler(labels, sample_rows)
        for row in stream_records(path, Consensus):
            self.row_of[row.document_id] = len(self.row_of)
            final.append(code[row.label])
            raw.append(code[row.raw_label])
            if row.label is None:
                self.abstained[row.abstained or "no reason given"] += 1
            if row.split == "gold" and row.gold_label is not None:
                self.gold.append(row)
            sampler.offer(row)
        self.final, self.raw = np.array(final, np.int16), np.array(raw, np.int16)
        self.sample = sampler.chosen()


class _Sampler:
    """Equally many rows of every label and of the abstentions, as far as there are any.

    Rows are ranked by a hash of their id: the choice looks random, is the same in every run, and does
    not depend on how many rows there are.
    """

    def __init__(self, labels: Sequence[str], rows: int) -> None:
        self._rows = rows
        self._heaps: dict[str | None, list[tuple[int, str, int, Consensus]]] = {label: [] for label in [*labels, None]}
        self._offered = 0

    def offer(self, row: Consensus) -> None:
        self._offered += 1  # ends every tie, so that the heap never compares two rows
        rank = int.from_bytes(hashlib.sha256(row.document_id.encode()).digest()[:8])
        heap = self._heaps[row.label]
        heapq.heappush(heap, (-rank, row.document_id, self._offered, row))
        if len(heap) > self._rows:
            heapq.heappop(heap)

    def chosen(self) -> list[Consensus]:
        """The sample, label by label in the task's order."""
        by_label = [[row for *_, row in sorted(heap, key=lambda ranked: -ranked[0])] for heap in self._heaps.values()]
        taken = [0] * len(by_label)
        while sum(taken) < min(self._rows, sum(map(len, by_label))):
            for number, rows in enumerate(by_label):
                if taken[number] < len(rows) and sum(taken) < self._rows:
                    taken[number] += 1
        return [row for rows, n in zip(by_label, taken, strict=True) for row in rows[:n]]
