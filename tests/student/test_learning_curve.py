"""The learning curve forecasts what its points allow."""

import pytest

from xpoll.student.learning_curve import Point, forecast, sizes


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
