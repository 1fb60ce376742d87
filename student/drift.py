"""Whether texts are still such as the gold rows were: what a student says of them, against what it says of those.

`xpoll evaluate` writes gold_answers.json into the student's folder; `xpoll predict` holds a file against it, batch by
batch and as a whole, in memory that does not grow with the file. Accuracy, verdict and a cascade's threshold are known
for texts like the gold rows only, so an alarm says that they do not cover the file. No alarm does not say that they do:
texts can change without a trace in confidences and labels.

Two tests, neither of which needs many gold rows: Kolmogorov and Smirnov's on the confidences, and Fisher's exact one
on the share of each label. All tests of a file together raise a false alarm in at most `FALSE_ALARM` of files: half of
it is spent on the whole file, the other half on the batches, 6 / (pi b)^2 of it on batch b, so that a stream may go on
for ever.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from xpoll.core.results import Result, read_result

FILE = "gold_answers.json"
FALSE_ALARM = 0.01
FEWEST = 20
"""Fewer gold rows, or rows of a batch, are not compared."""

_DIGITS = 3  # engines differ in the digits behind, and many confidences are next to 1


class GoldAnswers(Result):
    """What a student says of the gold rows: `confidence` of each, 0 to 1, and how often it says each label."""

    schema_version: int = 1
    confidence: tuple[float, ...]
    label_counts: dict[str, int]


class Drift(NamedTuple):
    """What a file was found to differ in.

    Attributes:
        rows: Rows of the file that have a label.
        gold_rows: What they were held against.
        alarm: What differs; None where nothing is shown to.
        p_value: Of the difference, for the number of tests; an alarm is at most `FALSE_ALARM`. 1 without a test.
        first_row: First row, from 1, of the first batch that differs; None where it is the file as a whole.
    """

    rows: int
    gold_rows: int
    alarm: Literal["confidences", "labels"] | None
    p_value: float
    first_row: int | None


def write_gold_answers(student: Path, labels: Sequence[str], probabilities: np.ndarray) -> None:
    """Writes what a student says of the gold rows into its folder.

    Args:
        student: Its folder.
        labels: In the order of the columns.
        probabilities: (rows, labels).
    """
    from xpoll.core.files import write_json

    counts = np.bincount(probabilities.argmax(1), minlength=len(labels)).tolist()
    confidence = tuple(float(share) for share in probabilities.max(1))
    answers = GoldAnswers(confidence=confidence, label_counts=dict(zip(labels, counts, strict=True)))
    write_json(student / FILE, answers.as_json())


def read_gold_answers(student: Path) -> GoldAnswers | None:
    """What `xpoll evaluate` wrote; None where it was not run, or without gold rows.

    Raises:
        RunFolderError: the file is of another version.
    """
    path = student / FILE
    return read_result(path, GoldAnswers, step="evaluate") if path.exists() else None


class DriftMonitor:
    """Takes the batches of a file in turn.

    Args:
        gold: What the student says of the gold rows.
    """

    def __init__(self, gold: GoldAnswers) -> None:
        self._gold = _Counts.of(gold.confidence, gold.label_counts, np.unique(_rounded(gold.confidence)))
        self._file = self._gold.none()
        self._batches = self._rows = 0
        self._strongest = Drift(0, self._gold.rows, None, 1.0, None)

    def take(self, labels: Sequence[str | None], confidence: Sequence[float | None]) -> None:
        """Takes the student's answers to the rows of a batch; rows without one are None and count as rows only."""
        first, self._rows = self._rows + 1, self._rows + len(labels)
        counts = dict.fromkeys(self._gold.labels, 0)
        for label in labels:
            if label is not None:
                counts[label] += 1
        batch = _Counts.of([each for each in confidence if each is not None], counts, self._gold.values)
        self._file = self._file.plus(batch)
        if batch.rows >= FEWEST and not self._is_alarmed:
            self._batches += 1
            self._note(batch, 3 / (math.pi * self._batches) ** 2, first)

    def found(self) -> Drift:
        """What there was, after the last batch: the first batch that raised an alarm, else the strongest difference."""
        if not self._is_alarmed:
            self._note(self._file, 0.5, None)
        found = self._strongest._replace(rows=self._file.rows)
        return found if self._is_alarmed else found._replace(alarm=None, first_row=None)

    @property
    def _is_alarmed(self) -> bool:
        return self._strongest.p_value <= FALSE_ALARM

    def _note(self, counts: "_Counts", spent: float, first_row: int | None) -> None:
        if min(counts.rows, self._gold.rows) < FEWEST:
            return
        for what, p_value in (
            ("confidences", _kolmogorov_smirnov(self._gold, counts)),
            ("labels", _fisher(self._gold, counts)),
        ):
            adjusted = min(1.0, 2 * p_value / spent)
            if adjusted < self._strongest.p_value:
                self._strongest = Drift(0, self._gold.rows, what, adjusted, first_row)  # type: ignore[arg-type]


class _Counts(NamedTuple):
    """Rows as counts: below and up to each confidence that a gold row has, and of each label."""

    rows: int
    values: np.ndarray
    below: np.ndarray
    up_to: np.ndarray
    labels: tuple[str, ...]
    of_label: np.ndarray

    @classmethod
    def of(cls, confidence: Sequence[float], label_counts: dict[str, int], values: np.ndarray) -> "_Counts":
        rows = np.sort(_rounded(confidence))
        below, up_to = (np.searchsorted(rows, values, side) for side in ("left", "right"))
        return cls(len(rows), values, below, up_to, tuple(label_counts), np.array([*label_counts.values()]))

    def none(self) -> "_Counts":
        """The same of no rows."""
        return self._replace(rows=0, below=0 * self.below, up_to=0 * self.up_to, of_label=0 * self.of_label)

    def plus(self, other: "_Counts") -> "_Counts":
        """Those of both."""
        return self._replace(
            rows=self.rows + other.rows,
            below=self.below + other.below,
            up_to=self.up_to + other.up_to,
            of_label=self.of_label + other.of_label,
        )


def _rounded(confidence: Sequence[float]) -> np.ndarray:
    return np.round(np.asarray(confidence, float), _DIGITS)


def _kolmogorov_smirnov(gold: _Counts, rows: _Counts) -> float:
    """The two-sample p-value by Massart's bound. Both are furthest apart at a step of the gold rows' distribution.

    Sources: Massart, "The tight constant in the Dvoretzky-Kiefer-Wolfowitz inequality", Annals of Probability 18
    (1990); Wei and Dudley, "Two-sample Dvoretzky-Kiefer-Wolfowitz inequalities", Statistics & Probability Letters 82
    (2012).
    """
    apart = max(
        float(np.abs(mine / gold.rows - theirs / rows.rows).max())
        for mine, theirs in ((gold.below, rows.below), (gold.up_to, rows.up_to))
    )
    pairs = gold.rows * rows.rows / (gold.rows + rows.rows)
    return min(1.0, 2 * math.exp(-2 * pairs * apart**2))


def _fisher(gold: _Counts, rows: _Counts) -> float:
    """The least of the labels' two-sided exact p-values, for their number."""
    from scipy.stats import hypergeom

    drawn = gold.rows + rows.rows, gold.of_label + rows.of_label, gold.rows
    either = np.minimum(hypergeom.cdf(gold.of_label, *drawn), hypergeom.sf(gold.of_label - 1, *drawn))
    return min(1.0, float(2 * either.min() * len(gold.labels)))
