"""The simulated audits count what they say they count: small versions of the suite, with seeds of their own."""

import numpy as np
import pytest

from xpoll.benchmarks.workloads import audits
from xpoll.votes.review.max_error import ErrorTarget

SHARES = [0.15, 0.6, 0.25]


def test_a_pile_is_what_it_is_said_to_be() -> None:
    pile = audits.draw_pile(np.random.default_rng(0), 20_000, SHARES, spoiled=0.0)
    right = pile.truth == pile.voted
    assert right.mean() == pytest.approx(0.93, abs=0.01)
    assert right.mean() == pytest.approx(pile.confidence.mean(), abs=0.01)
    assert [float((pile.truth == i).mean()) for i in range(3)] == pytest.approx(SHARES, abs=0.02)
    spoiled = audits.draw_pile(np.random.default_rng(0), 20_000, SHARES, spoiled=0.3)
    assert (spoiled.truth == spoiled.voted).mean() == pytest.approx(0.7 * 0.93 + 0.1, abs=0.015)


@pytest.mark.parametrize("spoiled", [0.0, 0.3])
def test_intervals_hold_and_are_narrower_than_the_audit_s(spoiled: float) -> None:
    records = list(audits.estimates(150, 100, 1000, SHARES, spoiled))
    assert [record["label_share"] for record in records] == SHARES
    coverage = np.mean([record["estimate_coverage"] for record in records])
    assert 0.92 <= coverage <= 0.985, coverage
    assert all(record["width_ratio"] < (0.9 if spoiled else 0.65) for record in records)


def test_few_labels_are_wrong_after_people_have_labelled_what_they_were_given() -> None:
    record = audits.max_errors(40, 150, 1000, SHARES, 0.0, ErrorTarget(0.05, 0.95))
    assert record["max_error_kept"] >= 0.9
    assert 0.15 <= record["labelled_by_people"] < 0.9


def test_a_student_just_below_the_target_is_hardly_ever_declared_to_reach_it() -> None:
    below, half, falling = audits.cascades(300, 200, 0.9)
    assert below["false_declarations"] <= 0.025 + 0.02
    assert half["false_declarations"] <= 0.025 + 0.02
    assert 0.1 < half["answered_by_student"] < 0.75
    assert falling["answered_by_student"] > half["answered_by_student"]


def test_files_of_another_kind_raise_an_alarm_and_files_of_the_same_kind_do_not() -> None:
    same, other, late = audits.drifts(30, 120, 2048, 512, 3)
    assert same["false_alarms"] <= 0.07
    assert other["alarms"] > 0.9
    assert late["alarms"] > 0.5
