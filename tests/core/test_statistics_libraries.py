"""SciPy and scikit-learn give what the formulas that they took the place of gave; the formulas stand here."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xpoll.core.statistics import (
    _f1_macro_variance,
    accuracy,
    confusion,
    f1_macro,
    mcnemar_p,
    paired_difference,
    per_label,
)

LABELS = ["a", "b", "c"]
ROWS = st.lists(st.tuples(st.sampled_from([*LABELS, None, "no label"]), st.sampled_from(LABELS)), min_size=1)
PAIRS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=300)


def wilson(right: int, n: int) -> tuple[float, float]:
    z, share = 1.959963984540054, right / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def exact_mcnemar(only_first: int, only_second: int) -> float:
    n, k = only_first + only_second, min(only_first, only_second)
    return min(1.0, 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2**n) if n else 1.0


def counted(rows: Sequence[tuple[str | None, str]]) -> dict[str, dict[str, float | int]]:
    table: dict[str, dict[str, float | int]] = {}
    for label in LABELS:
        hit = sum(p == label == g for p, g in rows)
        named, real = sum(p == label for p, _ in rows), sum(g == label for _, g in rows)
        table[label] = {
            "precision": hit / named if named else 0.0,
            "recall": hit / real if real else 0.0,
            "f1": 2 * hit / (named + real) if named + real else 0.0,
            "support": real,
        }
    return table


@given(n=st.integers(1, 100_000), data=st.data())
@settings(deadline=None)
def test_the_interval_of_an_accuracy(n: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, n) | st.sampled_from([0, n]))
    found = accuracy(["a"] * right + [None] * (n - right), ["a"] * n)
    assert found.value == right / n
    assert found.as_list() == pytest.approx(wilson(right, n), abs=1e-12)


@given(ROWS)
@settings(deadline=None)
def test_scores_and_counts_per_label(rows: list[tuple[str | None, str]]) -> None:
    predicted, gold = [p for p, _ in rows], [g for _, g in rows]
    table, expected = per_label(predicted, gold, LABELS), counted(rows)
    assert list(table) == LABELS
    for label in LABELS:
        assert table[label] == pytest.approx(expected[label])
        assert all(type(value) is float for name, value in table[label].items() if name != "support")
        assert type(table[label]["support"]) is int
    assert confusion(predicted, gold, LABELS) == [
        [sum(p == column and g == label for p, g in rows) for column in [*LABELS, None]] for label in LABELS
    ]
    value = f1_macro(predicted, gold, LABELS, resamples=10).value
    assert value == pytest.approx(np.mean([row["f1"] for row in expected.values()]))


def test_the_variance_of_macro_f1_is_that_of_scikit_learn_s_over_resamples() -> None:
    from sklearn.metrics import f1_score

    draw = np.random.default_rng(0)
    gold = draw.integers(0, 3, 60)
    predicted = np.where(draw.random(60) < 0.7, gold, draw.integers(0, 4, 60))
    names = [*LABELS, None]
    arguments = [names[i] for i in predicted], [LABELS[i] for i in gold], LABELS
    draws = np.random.default_rng(5).integers(0, 60, (300, 60))
    each = [f1_score(gold[i], predicted[i], labels=range(3), average="macro", zero_division=0) for i in draws]
    assert _f1_macro_variance(predicted, gold, 3) == pytest.approx(np.var(each), rel=0.25)
    analytic, resampled = f1_macro(*arguments), f1_macro(*arguments, resamples=2000, seed=5)
    assert analytic.as_list() == pytest.approx(resampled.as_list(), abs=0.02)


def test_no_rows_have_no_score() -> None:
    for score in (per_label, confusion, f1_macro):
        with pytest.raises(ValueError, match="empty"):
            score([], [], LABELS)
    with pytest.raises(ValueError, match="not less than 1"):
        accuracy([], [])


@given(PAIRS)
@settings(deadline=None)
def test_mcnemar_s_p_and_the_paired_difference(pairs: list[tuple[bool, bool]]) -> None:
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    only_first, only_second = pairs.count((True, False)), pairs.count((False, True))
    assert mcnemar_p(first, second) == pytest.approx(exact_mcnemar(only_first, only_second), rel=1e-9)
    n, apart = len(pairs) + 2, only_first - only_second
    half = 1.959963984540054 * math.sqrt(only_first + only_second + 1 - apart**2 / n) / n
    found = paired_difference(first, second)
    assert found.value == apart / len(pairs)
    assert found.as_list() == pytest.approx([max(-1.0, apart / n - half), min(1.0, apart / n + half)])


def test_numpy_booleans_are_as_good_as_python_s() -> None:
    draw = np.random.default_rng(1)
    first, second = draw.random(2000) < 0.6, draw.random(2000) < 0.6
    assert mcnemar_p(first, second) == mcnemar_p(first.tolist(), second.tolist())  # type: ignore[arg-type]
    assert 0.001 < mcnemar_p(first, second) < 1  # type: ignore[arg-type]
    assert paired_difference(first, second) == paired_difference(first.tolist(), second.tolist())  # type: ignore[arg-type]


def test_a_difference_of_more_pairs_than_a_power_of_two_can_hold_has_a_p() -> None:
    assert mcnemar_p([True] * 5000 + [False] * 5000, [False] * 5000 + [True] * 5000) == 1.0
    assert mcnemar_p([True] * 5000, [False] * 5000) == pytest.approx(0, abs=1e-300)


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_rows_that_are_no_pairs_are_refused(rows: int) -> None:
    for paired in (mcnemar_p, paired_difference):
        with pytest.raises(ValueError, match="are no pairs"):
            paired([True] * rows, [True, False])
    for score in (per_label, confusion, f1_macro):
        with pytest.raises(ValueError, match="predicted labels for 2"):
            score(["a"] * rows, ["a", "b"], LABELS)
