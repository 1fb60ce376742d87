"""Figures are written in one way, and a figure that is not there is never made up."""

import pytest

from xpoll.core.formatting import (
    counted,
    duration,
    figure,
    interval,
    number,
    p_value,
    percent,
    points,
    share_with_interval,
    with_unit,
)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "not measured"),
        (0, "0"),
        (0.0, "0"),
        (1440, "1,440"),
        (0.00208, "0.00208"),
        (1.283, "1.28"),
        (-5.25, "-5.25"),
        (float("inf"), "inf"),
        (float("nan"), "nan"),
    ],
)
def test_numbers_are_short_and_never_made_up(value: float | None, shown: str) -> None:
    assert number(value) == shown


def test_shares_come_in_percent_with_one_digit() -> None:
    assert (percent(0.8333), percent(None), percent(None, none="-")) == ("83.3 %", "not measured", "-")
    assert percent(0.9, digits=0) == "90 %"
    assert interval(0.757, 0.889) == "75.7 to 88.9 %"
    assert share_with_interval(0.833, (0.757, 0.889)) == "83.3 % (75.7 to 88.9)"
    assert share_with_interval(0.833, None) == "83.3 %"
    assert share_with_interval(None, None) == "not measured"


def test_points_p_values_units_and_counts() -> None:
    assert (points(-0.025), points(0.025, signed=True), points(None)) == ("-2.5 points", "+2.5 points", "not measured")
    assert (p_value(0.61), p_value(0.0004)) == ("p = 0.61", "p < 0.001")
    assert (with_unit(21475.0, "J"), with_unit(None, "J")) == ("21,475 J", "not measured")
    assert (counted(1, "gold row"), counted(1200, "gold row")) == ("1 gold row", "1,200 gold rows")
    assert counted(2, "entry", "entries") == "2 entries"


def test_long_times_are_told_in_minutes_and_hours_too() -> None:
    assert (duration(None), duration(44.274)) == ("not measured", "44.3 s")
    assert (duration(187.028), duration(7500)) == ("187 s (about 3 min)", "7,500 s (about 2 h 5 min)")


def test_a_value_of_a_record_may_be_anything() -> None:
    assert [figure(value) for value in (None, 2.5, True, "cpu", [1])] == ["not measured", "2.50", "True", "cpu", "[1]"]
