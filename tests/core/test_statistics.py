"""The formulas against values worked out by hand."""

import random

import numpy as np
import pytest

from xpoll.core.statistics import (
    accuracy,
    confusion,
    expected_calibration_error,
    f1_macro,
    mcnemar_p,
    paired_difference,
    per_label,
)

LABELS = ["a", "b"]
GOLD = ["a", "a", "a", "b", "b"]
PREDICTED = ["a", "a", "b", "b", None]


def test_accuracy_counts_an_abstention_as_not_right() -> None:
    assert accuracy(PREDICTED, GOLD).value == 0.6
    assert accuracy([None, None], ["a", "a"]).value == 0.0


def test_the_wilson_interval_has_its_closed_form_at_the_ends_and_the_middle() -> None:
    z2 = 1.959964**2
    all_right = accuracy(["a"] * 10, ["a"] * 10)
    assert all_right.as_list() == pytest.approx([10 / (10 + z2), 1])
    none_right = accuracy(["b"] * 10, ["a"] * 10)
    assert none_right.as_list() == pytest.approx([0, z2 / (10 + z2)])
    half = accuracy(["a", "b"] * 50, ["a"] * 100)
    # At one half the interval is 0.5 +- z / (2 sqrt(n + z2)).
    assert half.as_list() == pytest.approx([0.5 - 0.0961685, 0.5 + 0.0961685], abs=1e-6)


def test_precision_recall_f1_and_support_of_each_label() -> None:
    table = per_label(PREDICTED, GOLD, LABELS)
    assert table["a"] == pytest.approx({"precision": 1.0, "recall": 2 / 3, "f1": 0.8, "support": 3})
    assert table["b"] == pytest.approx({"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2})


def test_macro_f1_is_the_plain_mean_and_lies_in_its_interval() -> None:
    estimate = f1_macro(PREDICTED, GOLD, LABELS)
    assert estimate.value == pytest.approx((0.8 + 0.5) / 2)
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


@pytest.mark.parametrize(("labels", "rows_each"), [(2, 1), (3, 40), (50, 3), (77, 2), (150, 1), (1000, 1)])
def test_the_interval_of_macro_f1_holds_it_however_many_labels_there_are(labels: int, rows_each: int) -> None:
    draw = random.Random(labels)
    names = [f"label {i}" for i in range(labels)]
    gold = names * rows_each
    found = f1_macro([name if draw.random() < 0.8 else draw.choice(names) for name in gold], gold, names)
    assert 0 <= found.low < found.value <= found.high <= 1


@pytest.mark.parametrize(("labels", "rows_each"), [(2, 30), (3, 40), (77, 2), (77, 1)])
def test_the_interval_of_macro_f1_holds_the_true_one_as_often_as_it_says(labels: int, rows_each: int) -> None:
    draw, names = np.random.default_rng(0), [f"label {i}" for i in range(labels)]
    right = 0.85  # errors fall on all other labels alike, so that precision, recall and F1 of each label are this
    gold = np.repeat(np.arange(labels), rows_each)
    held = 0
    for _ in range(200):
        wrong = (gold + draw.integers(1, labels, len(gold))) % labels
        told = np.where(draw.random(len(gold)) < right, gold, wrong)
        found = f1_macro([names[i] for i in told], [names[i] for i in gold], names)
        held += found.low <= right <= found.high
    assert held >= 182, "fewer than 95 % of 200, by more than three standard deviations"


def test_few_rows_that_are_all_right_are_no_certainty() -> None:
    rows = ["a"] * 6 + ["b"] * 6
    found = f1_macro(rows, rows, ["a", "b"])
    assert 0.6 < found.low < accuracy(rows, rows).low < found.value == found.high == 1
    missing = f1_macro(rows, rows, ["a", "b", "c"])
    assert missing.low < missing.value < missing.high
    assert missing.value == pytest.approx(2 / 3)


def test_macro_f1_counts_a_label_nobody_names_as_zero() -> None:
    assert f1_macro(["a"], ["a"], LABELS).value == 0.5


def test_one_row_a_label_bounds_nothing() -> None:
    assert f1_macro(["a", "a"], ["a", "b"], LABELS).as_list() == [0, 1]


def test_confusion_has_gold_down_and_abstentions_last() -> None:
    assert confusion(PREDICTED, GOLD, LABELS) == [[2, 1, 0], [0, 1, 1]]


def test_calibration_error_is_the_mean_gap_of_the_bins() -> None:
    # Bin 0.9..1: two rows at 0.9, one right: gap 0.4. Bin 0.6..0.7: two rows at 0.6, both right: gap 0.4.
    assert expected_calibration_error([0.92, 0.88 + 0.04, 0.62, 0.62], [True, False, True, True]) == pytest.approx(0.4)
    assert expected_calibration_error([1.0, 1.0], [True, True]) == 0.0
    # Only the second row is off, by 0.5, and it is half of the rows.
    assert expected_calibration_error([1.0, 0.5], [True, False]) == pytest.approx(0.25)


def test_mcnemar_is_the_exact_two_sided_sign_test_of_the_rows_that_differ() -> None:
    def p(only_first: int, only_second: int, both: int = 3) -> float:
        first = [True] * only_first + [False] * only_second + [True] * both
        second = [False] * only_first + [True] * only_second + [True] * both
        return mcnemar_p(first, second)

    assert p(0, 0) == 1.0
    assert p(1, 0) == 1.0
    assert p(5, 0) == pytest.approx(2 / 32)
    assert p(1, 5) == p(5, 1) == pytest.approx(2 * (1 + 6) / 64)
    assert p(2, 2) == 1.0
    assert p(0, 2000) == pytest.approx(0)


def test_the_interval_of_a_paired_difference_holds_the_true_one_as_often_as_it_says() -> None:
    found = paired_difference([True] * 3 + [False] * 4 + [True] * 33, [False] * 3 + [True] * 37)
    assert found.value == pytest.approx(-1 / 40)
    assert (found.low, found.high) == pytest.approx((-0.15561, 0.10799), abs=1e-4)
    draw, held = np.random.default_rng(0), 0
    for _ in range(1000):  # 80 rows, of which the first is right alone on 10 %, the second on 4 %
        kind = draw.choice(3, size=80, p=[0.10, 0.04, 0.86])
        found = paired_difference((kind != 1).tolist(), (kind != 0).tolist())
        held += found.low <= 0.06 <= found.high
    assert 930 <= held <= 980
    alike = paired_difference([True, False], [True, False])
    assert alike.value == 0
    assert alike.low == -alike.high < 0, "no pair that differs is no proof of no difference"
