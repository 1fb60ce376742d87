"""What the suites of the engine measure, small: that the figures are of what they say, not how large they are."""

import pytest

from xpoll.benchmarks.runner.suite import read_suite
from xpoll.benchmarks.suites.fleet import whole_fleet
from xpoll.benchmarks.suites.journal import measure_once

pytestmark = pytest.mark.engine


def test_a_small_fleet_loses_one_device_for_good_and_answers_everything_once() -> None:
    small = {"devices": 4, "devices_per_process": 2, "lost_device": 1, "documents": 1200, "time_scale": 0.5}
    parameters = {**read_suite("fleet")["parameters"], **small, "lost_after_share": 0.3, "fail_share": 0.1}
    record = whole_fleet(parameters, 100.0)
    assert record["answered_once"]
    assert (record["devices"], record["devices_lost"], record["poison_rows"]) == (4, 1, 0)
    assert 60 <= record["failed_rows"] <= 180
    assert 0 < record["lost_at_s"] < record["wall_s"]
    assert record["capacity_answers"] <= 4 * 100 * record["wall_s"] * 1.01


def test_the_journal_that_only_counts_leaves_nothing_and_the_other_one_takes_time() -> None:
    without = measure_once("no journal", 500, 64, 0.0)
    assert (without["answers"], without["append_s"], without["appends"] > 0) == (500, 0.0, True)
    with_journal = measure_once("saturated", 500, 64, 0.0)
    assert with_journal["answers"] == 500
    assert 0 < with_journal["append_s"] < with_journal["wall_s"]
