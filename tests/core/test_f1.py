"""F1 from counts per text: scikit-learn's values, intervals that hold what resampling says, a test of pairs."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from xpoll.core.f1 import F1Counts, macro_f1, micro_f1, paired_micro_f1, scores_by_label, set_counts


def drawn(seed: int, *, texts: int = 200, labels: int = 6, right: float = 0.8) -> tuple[np.ndarray, np.ndarray]:
    """What is said and what is true, of labels that are rarer and rarer."""
    draw = np.random.default_rng(seed)
    truth = draw.random((texts, labels)) < np.linspace(0.5, 0.05, labels)
    return np.where(draw.random(truth.shape) < right, truth, ~truth), truth


@pytest.mark.parametrize("seed", [0, 1])
def test_the_values_are_those_of_scikit_learn(seed: int) -> None:
    said, truth = drawn(seed)
    counts = set_counts(said, truth)
    assert micro_f1(counts).value == pytest.approx(f1_score(truth, said, average="micro"))
    assert macro_f1(counts).value == pytest.approx(f1_score(truth, said, average="macro"))
    by_label = scores_by_label(counts, list("abcdef"))
    assert [each["f1"] for each in by_label.values()] == pytest.approx(f1_score(truth, said, average=None).tolist())
    assert [each["support"] for each in by_label.values()] == truth.sum(0).tolist()


def test_labels_that_neither_side_names_are_no_part_of_macro_f1() -> None:
    truth = np.array([[1, 0, 0], [1, 0, 0]], bool)
    said = np.array([[1, 1, 0], [1, 0, 0]], bool)
    assert macro_f1(set_counts(said, truth)).value == pytest.approx((1 + 0) / 2)
    nothing = np.zeros((2, 3), bool)
    assert (micro_f1(set_counts(nothing, nothing)).value, macro_f1(set_counts(nothing, nothing)).value) == (1, 1)


@pytest.mark.parametrize("score", [micro_f1, macro_f1])
def test_the_interval_is_about_as_wide_as_resampling_says(score: object) -> None:
    said, truth = drawn(3, texts=400)
    found = score(set_counts(said, truth))  # type: ignore[operator]
    draw = np.random.default_rng(0)
    values = []
    for _ in range(400):
        rows = draw.integers(0, 400, 400)
        values.append(score(set_counts(said[rows], truth[rows])).value)  # type: ignore[operator]
    low, high = np.quantile(values, (0.025, 0.975))
    assert found.low < found.value < found.high
    assert (found.high - found.low) == pytest.approx(high - low, rel=0.25)


def test_a_few_texts_that_are_all_right_are_no_certainty() -> None:
    truth = np.eye(3, dtype=bool)
    for found in (micro_f1(set_counts(truth, truth)), macro_f1(set_counts(truth, truth))):
        assert found.value == 1
        assert found.low < 0.5
    with pytest.raises(ValueError, match="no texts"):
        micro_f1(F1Counts(*np.zeros((3, 0, 2), int)))


def test_a_difference_is_noise_between_equal_raters_and_not_between_unequal_ones() -> None:
    said, truth = drawn(5, texts=300)
    worse, _ = drawn(5, texts=300, right=0.6)
    better, same = set_counts(said, truth), set_counts(said[::-1], truth[::-1])
    apart = paired_micro_f1(set_counts(worse, truth), better)
    assert apart.p_value < 0.01
    assert apart.difference.low <= apart.difference.value <= apart.difference.high < 0
    assert paired_micro_f1(better, better).p_value == 1
    assert paired_micro_f1(better, same).difference.value == pytest.approx(0)
    with pytest.raises(ValueError, match="no pairs"):
        paired_micro_f1(better, set_counts(said[:5], truth[:5]))
