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


def share(right: Sequence[bool]) -> Estimate:
    """Share of rows that are right, with its Wilson score interval.

    Raises:
        ValueError: there are no rows.
    """
    return accuracy(["right" if each else None for each in right], ["right"] * len(right))


def f1_macro(
    predicted: Sequence[str | None], gold: Sequence[str], labels: Sequence[str], *, resamples: int = 0, seed: int = 0
) -> Estimate:
    """Unweighted mean of the labels' F1, with the Wilson score interval of the number of rows that it is worth.

    That number is the one of which a share would have the variance of the score, and never more than the labels' rows
    are worth where each label counts alike, so that few rows that are all right are no certainty; and a label's first
    row is worth none, because the F1 of single rows is off to one side: with one row a label the interval is 0 to 1.
    Resamples of the rows make no interval themselves: they miss labels of few rows, and then all lie below the score.
    A label that neither side names counts as 0.

    Args:
        predicted: (rows,) labels; None is an abstention.
        gold: (rows,) true labels.
        labels: The labels to average over.
        resamples: Take the variance of this many bootstrap samples instead of the analytic one.
        seed: Of the bootstrap.

    Raises:
        ValueError: there are no rows, or not equally many of both.

    Source: Takahashi et al., "Confidence interval for micro-averaged F1 and macro-averaged F1 scores", Applied
    Intelligence 52 (2022), for the variance; Korn and Graubard, "Confidence intervals for proportions with small
    expected number of positive counts", Survey Methodology 24 (1998), for the number of rows in place of a design's.
    """
    from sklearn.metrics import f1_score

    p, g = _numbers(predicted, gold, labels)
    value = float(f1_score(g, p, labels=range(len(labels)), average="macro", zero_division=0))
    if resamples:
        draws = np.random.default_rng(seed).integers(0, len(g), (resamples, len(g)))
        variance = float(_f1_macro_per_resample(p[draws], g[draws], len(labels)).var())
    else:
        variance = _f1_macro_variance(p, g, len(labels))
    of_label = np.bincount(g[(g >= 0) & (g < len(labels))], minlength=len(labels))
    present = of_label[of_label > 0]
    worth = len(present) ** 2 / float((1 / present).sum()) if len(present) else 0.0
    if variance > 0:
        worth = min(worth, value * (1 - value) / variance)
    further = int((present - 1).sum()) / max(1, int(present.sum()))
    return wilson(value, worth * further)


def _f1_macro_variance(p: np.ndarray, g: np.ndarray, num_labels: int) -> float:
    """Of macro F1 by the delta method: the sum of the squares of what each row adds to it."""
    known_p, known_g = p[(p >= 0) & (p < num_labels)], g[(g >= 0) & (g < num_labels)]
    hit = np.bincount(g[(p == g) & (g >= 0) & (g < num_labels)], minlength=num_labels)
    both = np.maximum(np.bincount(known_p, minlength=num_labels) + np.bincount(known_g, minlength=num_labels), 1)
    # The last place, which -1 and the number of an abstention both reach, is that of names that are no label.
    inverse, score = np.append(1 / both, 0.0), np.append(2 * hit / both, 0.0)
    row_p, row_g = np.where(p < num_labels, p, -1), np.where(g < num_labels, g, -1)
    added = (p == g) * 2 * inverse[row_g] - score[row_g] * inverse[row_g] - score[row_p] * inverse[row_p]
    return float((added**2).sum()) / num_labels**2


def wilson(share: float, rows: float) -> Estimate:
    """The Wilson score interval of a share of so many rows, which need not be a whole number, and may be 0."""
    if not rows:
        return Estimate(share, 0.0, 1.0)
    centre = (share + Z_95**2 / (2 * rows)) / (1 + Z_95**2 / rows)
    half = Z_95 / (1 + Z_95**2 / rows) * math.sqrt(share * (1 - share) / rows + Z_95**2 / (4 * rows**2))
    return Estimate(share, max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half)))


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
