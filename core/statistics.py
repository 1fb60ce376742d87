"""The few formulas every accuracy figure comes with: intervals, macro F1, calibration error, paired tests."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Estimate:
    """A share or score in 0..1, or a difference of two, with its 95 % interval."""

    value: float
    low: float
    high: float

    def as_list(self) -> list[float]:
        return [self.low, self.high]


def accuracy(predicted: Sequence[str | None], gold: Sequence[str]) -> Estimate:
    """Share of rows that are right; an abstention (None) is not right. Wilson score interval.

    Source: E. B. Wilson, "Probable inference", JASA 22 (1927).
    """
    n = len(gold)
    right = sum(p == g for p, g in zip(predicted, gold, strict=True))
    z, share = 1.959964, right / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Estimate(share, max(0.0, centre - half), min(1.0, centre + half))


def f1_macro(
    predicted: Sequence[str | None], gold: Sequence[str], labels: Sequence[str], *, resamples: int = 2000, seed: int = 0
) -> Estimate:
    """Unweighted mean of the labels' F1; percentile bootstrap interval over rows."""
    index = {label: i for i, label in enumerate(labels)}
    p = np.array([index.get(label, -1) if label is not None else -1 for label in predicted])
    g = np.array([index[label] for label in gold])
    draws = np.random.default_rng(seed).integers(0, len(g), (resamples, len(g)))
    scores = _f1_macro(p[draws], g[draws], len(labels))
    low, high = np.quantile(scores, [0.025, 0.975])
    return Estimate(float(_f1_macro(p[None], g[None], len(labels))[0]), float(low), float(high))


def _f1_macro(p: np.ndarray, g: np.ndarray, num_labels: int) -> np.ndarray:
    """F1 of each row of (resamples, rows); a label that neither side names counts as 0, as in scikit-learn."""
    per_label = []
    for label in range(num_labels):
        hit = ((p == label) & (g == label)).sum(1)
        named = (p == label).sum(1) + (g == label).sum(1)
        per_label.append(np.divide(2 * hit, named, out=np.zeros(len(p)), where=named > 0))
    mean: np.ndarray = np.mean(per_label, axis=0)
    return mean


def per_label(
    predicted: Sequence[str | None], gold: Sequence[str], labels: Sequence[str]
) -> dict[str, dict[str, float | int]]:
    """Precision, recall, F1 and number of gold rows of each label."""
    rows = list(zip(predicted, gold, strict=True))
    table: dict[str, dict[str, float | int]] = {}
    for label in labels:
        hit = sum(p == label == g for p, g in rows)
        named, real = sum(p == label for p, _ in rows), sum(g == label for _, g in rows)
        table[label] = {
            "precision": hit / named if named else 0.0,
            "recall": hit / real if real else 0.0,
            "f1": 2 * hit / (named + real) if named + real else 0.0,
            "support": real,
        }
    return table


def confusion(predicted: Sequence[str | None], gold: Sequence[str], labels: Sequence[str]) -> list[list[int]]:
    """Counts with gold labels down and predicted labels across; the last column counts abstentions."""
    columns: list[str | None] = [*labels, None]
    rows = list(zip(predicted, gold, strict=True))
    return [[sum(p == column and g == label for p, g in rows) for column in columns] for label in labels]


def expected_calibration_error(confidence: Sequence[float], right: Sequence[bool], *, bins: int = 10) -> float:
    """Mean gap between stated confidence and share right, over equally wide bins weighted by rows.

    Source: Naeini, Cooper, Hauskrecht, AAAI 2015.
    """
    c, r = np.asarray(confidence, float), np.asarray(right, float)
    bin_of = np.minimum((c * bins).astype(int), bins - 1)
    gaps = [abs(c[bin_of == b].mean() - r[bin_of == b].mean()) * (bin_of == b).mean() for b in np.unique(bin_of)]
    return float(sum(gaps))


def mcnemar_p(first_right: Sequence[bool], second_right: Sequence[bool]) -> float:
    """Two-sided exact McNemar p: how likely a difference this large is if both are equally often right."""
    only_first = sum(a and not b for a, b in zip(first_right, second_right, strict=True))
    only_second = sum(b and not a for a, b in zip(first_right, second_right, strict=True))
    n, k = only_first + only_second, min(only_first, only_second)
    if n == 0:
        return 1.0
    tail: float = sum(math.comb(n, i) for i in range(k + 1)) / 2**n
    return min(1.0, 2 * tail)


def paired_difference(first_right: Sequence[bool], second_right: Sequence[bool]) -> Estimate:
    """Share of rows that the first is right on minus the second's; -1 to 1, with its 95 % interval for paired rows.

    Source: Agresti and Min, "Simple improved confidence intervals for comparing matched proportions", Statistics in
    Medicine 24 (2005): half a row is added to each cell of the table.
    """
    pairs = list(zip(first_right, second_right, strict=True))
    only_first, only_second = (sum(pair == wanted for pair in pairs) for wanted in ((True, False), (False, True)))
    n, apart = len(pairs) + 2, only_first - only_second
    centre = apart / n
    half = 1.959964 * math.sqrt(only_first + only_second + 1 - apart**2 / n) / n
    return Estimate(apart / len(pairs), max(-1.0, centre - half), min(1.0, centre + half))


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation; the latter is 0 for a single value."""
    found = np.asarray(values, float)
    return float(found.mean()), float(found.std(ddof=1)) if len(found) > 1 else 0.0
