"""The formulas that every accuracy figure comes with: intervals, scores per label, calibration error, paired tests.

The distributions and the counting are SciPy's and scikit-learn's; here they get our types, and abstentions (None) their
meaning. Both are imported inside the functions: SciPy's statistics take longer to load than a plan takes to compute.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Z_95 = 1.959963984540054
"""Quantile of the normal distribution that a two-sided 95 % interval reaches to."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A share or score in 0..1, or a difference of two in -1..1, with its 95 % interval."""

    value: float
    low: float
    high: float

    def as_list(self) -> list[float]:
        """The interval, for JSON: [low, high]."""
        return [self.low, self.high]


def accuracy(predicted: Sequence[str | None], gold: Sequence[str]) -> Estimate:
    """Share of rows that are right, with its Wilson score interval.

    Args:
        predicted: (rows,) labels; an abstention (None) is not right.
        gold: (rows,) true labels.

    Raises:
        ValueError: there are no rows, or not equally many of both.

    Source: E. B. Wilson, "Probable inference", JASA 22 (1927).
    """
    from scipy.stats import binomtest

    right = sum(p == g for p, g in zip(predicted, gold, strict=True))
    found = binomtest(right, len(gold)).proportion_ci(0.95, method="wilson")
    return Estimate(right / len(gold), float(found.low), float(found.high))


def f1_macro(
    predicted: Sequence[str | None], gold: Sequence[str], labels: Sequence[str], *, resamples: int = 2000, seed: int = 0
) -> Estimate:
    """Unweighted mean of the labels' F1, with a percentile bootstrap interval over rows.

    A label that neither side names counts as 0.

    Args:
        predicted: (rows,) labels; None is an abstention.
        gold: (rows,) true labels.
        labels: The labels to average over.
        resamples: Number of bootstrap samples.
        seed: Of the bootstrap; the same rows and seed give the same interval.

    Raises:
        ValueError: there are no rows, or not equally many of both.
    """
    from sklearn.metrics import f1_score

    p, g = _numbers(predicted, gold, labels)
    value = f1_score(g, p, labels=range(len(labels)), average="macro", zero_division=0)
    draws = np.random.default_rng(seed).integers(0, len(g), (resamples, len(g)))
    low, high = np.quantile(_f1_macro_per_resample(p[draws], g[draws], len(labels)), [0.025, 0.975])
    return Estimate(float(value), float(low), float(high))


def _f1_macro_per_resample(p: np.ndarray, g: np.ndarray, num_labels: int) -> np.ndarray:
    """(resamples,) macro F1 of (resamples, rows) label numbers: one call of scikit-learn per resample takes seconds."""
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
    """Label to its `precision`, `recall` and `f1` in 0..1 and its number of gold rows, `support`.

    A share of no rows is 0.

    Args:
        predicted: (rows,) labels; None is an abstention.
        gold: (rows,) true labels.
        labels: The labels to score, in the order of the result.

    Raises:
        ValueError: there are no rows, or not equally many of both.
    """
    from sklearn.metrics import precision_recall_fscore_support

    p, g = _numbers(predicted, gold, labels)
    found = precision_recall_fscore_support(g, p, labels=range(len(labels)), zero_division=0)
    return {
        label: {"precision": float(precision), "recall": float(recall), "f1": float(f1), "support": int(support)}
        for label, precision, recall, f1, support in zip(labels, *found, strict=True)
    }


def confusion(predicted: Sequence[str | None], gold: Sequence[str], labels: Sequence[str]) -> list[list[int]]:
    """(labels, labels + 1) counts: gold labels down, predicted labels across, abstentions in the last column.

    Args:
        predicted: (rows,) labels; None is an abstention.
        gold: (rows,) true labels.
        labels: The labels to count, in the order of rows and columns.

    Raises:
        ValueError: there are no rows, or not equally many of both.
    """
    from sklearn.metrics import confusion_matrix

    p, g = _numbers(predicted, gold, labels)
    counts: list[list[int]] = confusion_matrix(g, p, labels=range(len(labels) + 1)).tolist()
    return counts[:-1]


def _numbers(
    predicted: Sequence[str | None], gold: Sequence[str], labels: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Both as numbers of the labels: as many as there are labels for an abstention, -1 for any other name."""
    if len(predicted) != len(gold):
        raise ValueError(f"{len(predicted)} predicted labels for {len(gold)} gold labels")
    number = {label: i for i, label in enumerate([*labels, None])}
    return np.array([number.get(p, -1) for p in predicted], int), np.array([number.get(g, -1) for g in gold], int)


def expected_calibration_error(confidence: Sequence[float], right: Sequence[bool], *, bins: int = 10) -> float:
    """Mean gap between stated confidence and share right, over equally wide bins weighted by rows.

    Args:
        confidence: (rows,) in 0..1.
        right: (rows,) whether the label is right.
        bins: Number of bins.

    Source: Naeini, Cooper, Hauskrecht, AAAI 2015.
    """
    c, r = np.asarray(confidence, float), np.asarray(right, float)
    bin_of = np.minimum((c * bins).astype(int), bins - 1)
    gaps = [abs(c[bin_of == b].mean() - r[bin_of == b].mean()) * (bin_of == b).mean() for b in np.unique(bin_of)]
    return float(sum(gaps))


def mcnemar_p(first_right: Sequence[bool], second_right: Sequence[bool]) -> float:
    """Two-sided exact McNemar p: how likely a difference this large is if both are equally often right.

    Args:
        first_right: (rows,) whether the first is right, as Python or NumPy booleans.
        second_right: (rows,) the same for the second, of the same rows.

    Raises:
        ValueError: there are not equally many rows of both.
    """
    from scipy.stats import binomtest

    only_first, only_second = _discordant(first_right, second_right)
    both = only_first + only_second
    return float(binomtest(only_first, both).pvalue) if both else 1.0


def paired_difference(first_right: Sequence[bool], second_right: Sequence[bool]) -> Estimate:
    """Share of rows that the first is right on minus the second's; -1 to 1, with its 95 % interval for paired rows.

    Args:
        first_right: (rows,) whether the first is right, as Python or NumPy booleans.
        second_right: (rows,) the same for the second, of the same rows.

    Raises:
        ValueError: there are not equally many rows of both.
        ZeroDivisionError: there are no rows.

    Source: Agresti and Min, "Simple improved confidence intervals for comparing matched proportions", Statistics in
    Medicine 24 (2005): half a row is added to each cell of the table.
    """
    only_first, only_second = _discordant(first_right, second_right)
    n, difference = len(first_right) + 2, only_first - only_second
    centre = difference / n
    half = Z_95 * math.sqrt(only_first + only_second + 1 - difference**2 / n) / n
    return Estimate(difference / len(first_right), max(-1.0, centre - half), min(1.0, centre + half))


def _discordant(first_right: Sequence[bool], second_right: Sequence[bool]) -> tuple[int, int]:
    """Number of rows that only the first is right on, and that only the second is."""
    first, second = np.asarray(first_right, bool), np.asarray(second_right, bool)
    if first.shape != second.shape:
        raise ValueError(f"{len(first)} rows of the first and {len(second)} of the second are no pairs")
    return int((first & ~second).sum()), int((second & ~first).sum())


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation; the latter is 0 for a single value."""
    found = np.asarray(values, float)
    return float(found.mean()), float(found.std(ddof=1)) if len(found) > 1 else 0.0
