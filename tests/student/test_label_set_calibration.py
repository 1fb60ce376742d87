"""Temperature and thresholds of a student of label sets, from held-out votes."""

from pathlib import Path

import numpy as np
import pytest

from xpoll.core.errors import ModelError
from xpoll.student.calibration import FILE, best_threshold, read_temperature, read_thresholds, sigmoid, write_label_sets

LABELS = ["a", "b"]


def test_scores_that_are_too_sure_get_a_temperature_and_labels_get_their_thresholds(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    scores = draw.normal(0, 2, (4000, 2))
    voted = draw.random((4000, 2)) < sigmoid(scores)
    found = write_label_sets(tmp_path, 3 * scores, voted.astype(float), LABELS)
    assert found.temperature == pytest.approx(3, rel=0.1)
    assert read_temperature(tmp_path) == found.temperature
    assert all(0.3 < each < 0.5 for each in read_thresholds(tmp_path, LABELS)), "F1 is best below one half"
    right = (sigmoid(3 * scores, found.temperature) >= read_thresholds(tmp_path, LABELS)) == voted
    assert found.accuracy == pytest.approx(right.all(1).mean())


def test_a_label_that_few_texts_have_takes_the_threshold_of_all(tmp_path: Path) -> None:
    voted = np.zeros((100, 2))
    voted[:50, 0], voted[:3, 1] = 1, 1
    scores = np.where(voted == 1, [[-1.0, 5.0]], [[-3.0, -5.0]])
    write_label_sets(tmp_path, scores, voted, LABELS)
    _, rare = read_thresholds(tmp_path, LABELS)
    assert rare == pytest.approx(best_threshold(sigmoid(scores, read_temperature(tmp_path)), voted > 0.5))


def test_of_equal_thresholds_the_one_next_to_one_half_is_taken() -> None:
    assert best_threshold(np.array([0.9, 0.1]), np.array([True, False])) == 0.5
    assert best_threshold(np.array([0.4, 0.1]), np.array([True, False])) == pytest.approx(0.4)


def test_without_a_file_a_label_fits_from_one_half_on_and_a_broken_file_is_one_line(tmp_path: Path) -> None:
    assert read_thresholds(tmp_path, LABELS) == [0.5, 0.5]
    (tmp_path / FILE).write_text('{"temperature": 1.0, "thresholds": {"a": 0.4}}')
    with pytest.raises(ModelError, match="says no thresholds"):
        read_thresholds(tmp_path, LABELS)
