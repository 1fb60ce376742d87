"""Suites are read, and a bound that does not hold is said."""

import tomllib

import pytest

from benchmarks.suite import RUNNERS, SUITES, _check, run_suite, suite_names
from core.errors import ConfigError


def test_every_suite_has_a_runner_and_bounds_and_the_other_way_round() -> None:
    assert suite_names() == sorted(RUNNERS)
    for name in suite_names():
        suite = tomllib.loads((SUITES / f"{name}.toml").read_text(encoding="utf-8"))
        assert suite["about"]
        assert suite["parameters"]["repeats"] >= 3
        assert all({"name", "unit"} < check.keys() for check in suite["checks"])


def test_a_check_is_over_the_median() -> None:
    records = [{"rate": 5.0}, {"rate": 30.0}, {"rate": 20.0}]
    assert _check({"name": "rate", "unit": "1/s", "at_least": 20}, records)["holds"]
    assert not _check({"name": "rate", "unit": "1/s", "at_least": 21}, records)["holds"]
    assert not _check({"name": "rate", "unit": "1/s", "at_most": 19}, records)["holds"]
    found = _check({"name": "rate", "unit": "1/s"}, records)
    assert (found["value"], found["lowest"], found["highest"]) == (20.0, 5.0, 30.0)


def test_an_unknown_suite_is_one_line_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="no suite 'nothing' -> known suites: dispatcher"):
        run_suite("nothing")
