"""F1 of answers of several labels or spans a text, from counts per text and label, with intervals and a paired test.

Texts are what is drawn, so texts are what intervals and tests are over: the labels or spans of one text stand and fall
together.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from xpoll.core.statistics import Estimate, wilson

RESAMPLES = 2000
"""Of the paired test and of the interval of a difference."""


class F1Counts(NamedTuple):
    """What a rater has right, each an int array (texts, labels).

    Attributes:
        hits: Labels or spans that are right.
        named: Those that it names.
        wanted: Those that gold names.
    """

    hits: np.ndarray
    named: np.ndarray
    wanted: np.ndarray

    @property
    def present(self) -> np.ndarray:
        """(labels,) bool: labels that either side names anywhere; macro F1 is the mean over these."""
        found: np.ndarray = (self.named.sum(0) + self.wanted.sum(0)) > 0
        return found


class PairedF1(NamedTuple):
    """How far two raters of the same texts are apart, and how likely such a difference is between equal ones."""

    difference: Estimate
    p_value: float


def set_counts(named: np.ndarray, wanted: np.ndarray) -> F1Counts:
    """Counts of sets of labels, of two bool arrays (texts, labels)."""
    said, real = np.asarray(named, bool), np.asarray(wanted, bool)
    return F1Counts((said & real).astype(int), said.astype(int), real.astype(int))


def micro_f1(counts: F1Counts) -> Estimate:
    """F1 over all labels of all texts together; 1 where neither side names anything.

    The interval is Wilson's, of the number of rows of which a share would have the variance of the score (delta
    method over texts), and of no more than both sides name labels; of the number of texts where all are right.

    Raises:
        ValueError: there are no texts.

    Source: Takahashi et al., "Confidence interval for micro-averaged F1 and macro-averaged F1 scores", Applied
    Intelligence 52 (2022).
    """
    hits, both = counts.hits.sum(1), (counts.named + counts.wanted).sum(1)
    texts, total = len(hits), int(both.sum())
    if not texts:
        raise ValueError("there are no texts")
    value = 2 * int(hits.sum()) / total if total else 1.0
    variance = float((((2 * hits - value * both) / max(total, 1)) ** 2).sum())
    return wilson(value, min(float(total), value * (1 - value) / variance) if variance > 0 else float(texts))


def macro_f1(counts: F1Counts) -> Estimate:
    """Unweighted mean of the F1 of the labels that either side names; 1 where there are none.

    The interval is made as that of `core.statistics.f1_macro`: a label's first gold row is worth nothing.
    """
    hits, named, wanted = (each[:, counts.present] for each in counts)
    if not hits.shape[1]:
        return wilson(1.0, float(len(hits)))
    both = (named + wanted).sum(0)
    each = 2 * hits.sum(0) / both
    value = float(each.mean())
    added = ((2 * hits - each * (named + wanted)) / both).mean(1)
    variance = float((added**2).sum())
    rows = (wanted > 0).sum(0)
    rows = rows[rows > 0]
    worth = len(rows) ** 2 / float((1 / rows).sum()) if len(rows) else 0.0
    if variance > 0:
        worth = min(len(both) ** 2 / float((1 / both).sum()), value * (1 - value) / variance)
    return wilson(value, worth * int((rows - 1).sum()) / max(1, int(rows.sum())))


def scores_by_label(counts: F1Counts, labels: Sequence[str]) -> dict[str, dict[str, float | int]]:
    """Label to its `precision`, `recall` and `f1` in 0..1 and how often gold names it, `support`; 0 of none."""
    hits, named, wanted = (each.sum(0).tolist() for each in counts)
    return {
        label: {
            "precision": hit / said if said else 0.0,
            "recall": hit / real if real else 0.0,
            "f1": 2 * hit / (said + real) if said + real else 0.0,
            "support": real,
        }
        for label, hit, said, real in zip(labels, hits, named, wanted, strict=True)
    }


def paired_micro_f1(first: F1Counts, second: F1Counts, *, seed: int = 0) -> PairedF1:
    """The first's micro F1 minus the second's, on the same texts.

    The p-value is of an approximate randomisation test: how often a difference at least as large comes about where
    each text's answers are swapped by chance. The interval is the bootstrap's, over texts.

    Raises:
        ValueError: there are no texts, or not equally many of both.

    Source: A. Yeh, "More accurate tests for the statistical significance of result differences", COLING 2000.
    """
    a, b = (np.stack([each.hits.sum(1), (each.named + each.wanted).sum(1)]) for each in (first, second))
    if a.shape != b.shape or not a.shape[1]:
        raise ValueError(f"{a.shape[1]} texts of the first and {b.shape[1]} of the second are no pairs")
    difference = float(_f1(a.sum(1)) - _f1(b.sum(1)))
    draw = np.random.default_rng(seed)
    larger, resampled = 0, []
    for _ in range(RESAMPLES):
        swapped = draw.random(a.shape[1]) < 0.5
        mine, theirs = np.where(swapped, b, a).sum(1), np.where(swapped, a, b).sum(1)
        larger += abs(_f1(mine) - _f1(theirs)) >= abs(difference) - 1e-12
        rows = draw.integers(0, a.shape[1], a.shape[1])
        resampled.append(_f1(a[:, rows].sum(1)) - _f1(b[:, rows].sum(1)))
    low, high = np.quantile(resampled, (0.025, 0.975))
    ends = Estimate(difference, min(float(low), difference), max(float(high), difference))
    return PairedF1(ends, (larger + 1) / (RESAMPLES + 1))


def _f1(sums: np.ndarray) -> float:
    return float(2 * sums[0] / sums[1]) if sums[1] else 1.0
