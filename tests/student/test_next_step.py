"""The learning curve forecasts what its points allow, and the verdict follows from the figures."""

from typing import Any

import pytest

from xpoll.student.learning_curve import Forecast, Point, forecast, sizes
from xpoll.student.next_step import next_step


def test_a_forecast_finds_the_curve_that_the_points_lie_on() -> None:
    points = [Point(rows, 1 - (0.05 + 2 * rows**-0.5)) for rows in (200, 400, 800, 1600)]
    expected = forecast(points)
    assert expected is not None
    assert expected.rows == 3200
    assert expected.accuracy == pytest.approx(1 - (0.05 + 2 * 3200**-0.5), abs=0.003)
    assert expected.floor == pytest.approx(0.05, abs=0.02)
    assert expected.gain == pytest.approx(2 * (1600**-0.5 - 3200**-0.5), abs=0.003)


def test_a_flat_or_falling_curve_promises_nothing() -> None:
    for accuracies in ((0.8, 0.8, 0.8), (0.85, 0.84, 0.8)):
        expected = forecast([Point(rows, share) for rows, share in zip((100, 200, 400), accuracies, strict=True)])
        assert expected is not None and expected.gain == pytest.approx(0, abs=1e-9)


def test_two_points_make_no_forecast() -> None:
    assert forecast([Point(100, 0.7), Point(200, 0.8), Point(200, 0.81)]) is None


def test_sizes_end_with_all_rows() -> None:
    assert sizes(1000, [0.5, 0.25, 0.5]) == [250, 500, 1000]


def scores(student: float, teacher: float, half_width: float = 0.03) -> dict[str, Any]:
    return {
        "teacher": {"accuracy": teacher},
        "student": {"accuracy": student, "accuracy_ci95": [student - half_width, student + half_width]},
        "comparison": {"difference": student - teacher},
    }


@pytest.mark.parametrize(
    ("evaluation", "gain", "decision"),
    [
        (scores(0.92, 0.91), None, "ship"),
        (scores(0.85, 0.80), None, "fix the teacher"),
        (scores(0.85, 0.95), None, "collect more"),
        (scores(0.85, 0.95), 0.02, "collect more"),
        (scores(0.85, 0.95), 0.001, "fix the teacher"),
        (scores(0.92, 0.91, half_width=0.15), None, "label more gold rows"),
    ],
)
def test_the_next_step_follows_from_student_teacher_and_curve(
    evaluation: dict[str, Any], gain: float | None, decision: str
) -> None:
    expected = None if gain is None else Forecast(2000, 0.9, gain, 0.05)
    step = next_step(evaluation, 0.9, expected)
    assert step is not None and step.decision == decision
    assert "90 % is wanted" in step.why or "is 90 %" in step.why


def test_without_gold_rows_there_is_no_decision() -> None:
    assert next_step({"teacher": None, "student": None, "comparison": None}, 0.9, None) is None
