"""Shares of labels: the published estimator, and intervals that stay honest where there is little to go by."""

import numpy as np
import pytest

from xpoll.votes.review.estimate import NO_LABEL, Audit, AuditSource, label_shares


def audit_of(counts: dict[tuple[int, int], int], source: AuditSource = "review") -> Audit:
    """Rows by (people's label, voted label)."""
    rows = [pair for pair, count in counts.items() for _ in range(count)]
    truth, voted = np.array(rows).T
    return Audit(truth, voted, np.ones(len(rows)), source)


COUNTS = {(1, 1): 47, (0, 1): 10, (1, 0): 6, (0, 0): 137}
PILE = np.repeat([1, 0], [6600, 13400])


def test_the_estimate_is_that_of_ppi_python_with_the_best_power_tuning() -> None:
    """0.30021715 and the interval are what ppi-python 0.2.3 says of the same rows; it takes the pile to be endless."""
    found = label_shares(PILE, audit_of(COUNTS), 2)[1].estimate
    assert found is not None
    truth, voted = (np.repeat(side, list(COUNTS.values())).astype(float) for side in ([1, 0, 1, 0], [1, 1, 0, 0]))
    tuning = np.cov(truth, voted)[0, 1] / voted.var(ddof=1)
    assert found.value == pytest.approx(tuning * 0.33 + (truth - tuning * voted).mean())
    assert found.value == pytest.approx(0.30021715, abs=1e-8)
    assert found.as_list() == pytest.approx([0.26320, 0.33723], abs=0.005)


def test_shares_of_all_labels_sum_to_one_and_intervals_mirror_each_other() -> None:
    no, yes = (share.estimate for share in label_shares(PILE, audit_of(COUNTS), 2))
    assert no is not None and yes is not None
    assert no.value + yes.value == pytest.approx(1)
    assert (no.low, no.high) == pytest.approx((1 - yes.high, 1 - yes.low))


def test_votes_that_say_nothing_cost_nothing_and_good_votes_halve_the_interval() -> None:
    def widths(counts: dict[tuple[int, int], int]) -> tuple[float, float]:
        found = label_shares(np.repeat([1, 0], [5000, 5000]), audit_of(counts), 2)[1]
        assert found.estimate is not None and found.audited is not None
        return found.estimate.high - found.estimate.low, found.audited.high - found.audited.low

    noise, alone = widths({(1, 1): 50, (0, 1): 50, (1, 0): 50, (0, 0): 50})
    assert noise == pytest.approx(alone, rel=0.02)
    good, alone = widths({(1, 1): 95, (0, 1): 5, (1, 0): 5, (0, 0): 95})
    assert good < 0.5 * alone


def test_an_audit_without_a_wrong_vote_leaves_doubt() -> None:
    found = label_shares(PILE, audit_of({(1, 1): 30, (0, 0): 70}), 2)[1].estimate
    assert found is not None
    assert found.value == pytest.approx(0.33)
    assert found.low < 0.32 and found.high > 0.34, "a normal interval would have no width"


def test_a_label_that_no_audited_row_was_voted_may_be_wrong_everywhere() -> None:
    pile = np.repeat([2, 0], [500, 9500])
    found = label_shares(pile, audit_of({(0, 0): 100}), 3)[2].estimate
    assert found is not None
    assert found.low == 0 and 0.05 <= found.high < 0.1


def test_nothing_is_said_where_nothing_is_audited_and_all_is_known_where_all_is() -> None:
    nobody = Audit(np.array([], int), np.array([], int), np.array([]), "review")
    assert label_shares(np.array([0, 1, 1]), nobody, 2)[1] == (pytest.approx(2 / 3), None, None)
    whole = label_shares(np.repeat([1, 0], [50, 50]), audit_of({(1, 1): 40, (0, 1): 10, (0, 0): 50}), 2)[1].estimate
    assert whole is not None
    assert (whole.value, whole.low, whole.high) == pytest.approx((0.4, 0.4, 0.4))
    with pytest.raises(ValueError, match="no texts"):
        label_shares(np.array([], int), nobody, 2)


def test_rows_beside_the_pile_are_less_sure_of_it_than_rows_of_it() -> None:
    pile = np.repeat([1, 0], [200, 200])
    counts = {(1, 1): 45, (0, 1): 5, (1, 0): 5, (0, 0): 45}
    inside, beside = (label_shares(pile, audit_of(counts, source), 2)[1].estimate for source in ("review", "gold"))
    assert inside is not None and beside is not None
    assert beside.high - beside.low > 1.1 * (inside.high - inside.low)


def test_weights_are_honoured() -> None:
    audit = audit_of({(1, 1): 20, (0, 0): 80})
    heavy = audit._replace(weight=np.where(audit.truth == 1, 4.0, 1.0), voted=np.full(100, NO_LABEL))
    found = label_shares(np.full(10_000, NO_LABEL), heavy, 2)[1]
    even = label_shares(np.full(10_000, NO_LABEL), heavy._replace(weight=np.ones(100)), 2)[1]
    assert found.audited is not None and found.estimate is not None and even.audited is not None
    assert found.audited.value == found.estimate.value == pytest.approx(0.5)
    assert even.audited.value == pytest.approx(0.2)
    assert found.audited.high - found.audited.low > even.audited.high - even.audited.low
