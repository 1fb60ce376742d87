"""People label just the texts that a wanted error needs, and are told when an audit cannot show it."""

import numpy as np
import pytest

from xpoll.core.errors import InputError
from xpoll.core.records import Consensus
from xpoll.votes.review.bound import Stratum, largest_share
from xpoll.votes.review.max_error import (
    ErrorTarget,
    audit_size,
    doubtful_texts,
    guarantee_of,
    least_size,
    wrong_allowed,
)
from xpoll.votes.review.sample import draw_sample

TARGET = ErrorTarget(0.02, 0.95)


def labelled(confidences: list[float]) -> list[Consensus]:
    return [Consensus(f"d{i}", "train", f"text {i}", "good", (1 - c, c), c, 3, 0, c) for i, c in enumerate(confidences)]


def test_149_rows_without_a_wrong_label_show_two_percent() -> None:
    """0.98^149 is the first power below 0.05."""
    assert wrong_allowed([Stratum(10_000, 149)], TARGET) == 0
    assert wrong_allowed([Stratum(10_000, 148)], TARGET) == -1
    assert least_size(149_000, TARGET) == 149
    assert wrong_allowed([Stratum(10_000, 600)], TARGET) == 6
    assert largest_share(6, 600, 0.05) <= 0.02 < largest_share(7, 600, 0.05)


def test_a_small_pile_is_audited_whole_where_nothing_less_shows_it() -> None:
    assert least_size(100, TARGET) == 100
    assert audit_size(100, TARGET, None) == 100
    assert wrong_allowed([Stratum(100, 100)], ErrorTarget(0.5, 0.95)) > 30
    assert 149 <= least_size(777, TARGET) <= 170, "strata of whole documents need some more"
    assert audit_size(777, TARGET, None) == max(777 // 5, least_size(777, TARGET))
    assert audit_size(100_000, TARGET, None) == 4 * least_size(100_000, TARGET)


def test_an_audit_that_is_too_small_says_how_many_rows_are_needed() -> None:
    with pytest.raises(InputError, match=r"100 rows cannot show that at most 2 % .* at least 149 can -> --size 149"):
        audit_size(149_000, TARGET, 100)
    rows = labelled([0.5 + i / 3000 for i in range(1000)])
    review = draw_sample(rows, size=60, seed=0)
    for row in review["rows"]:
        row["label"] = "good"
    with pytest.raises(InputError, match=r"60 rows cannot show .* at least 1[45]\d can"):
        doubtful_texts(review, rows, TARGET, seed=0)


@pytest.mark.parametrize("target", [ErrorTarget(0.0, 0.95), ErrorTarget(1.5, 0.95), ErrorTarget(0.02, 1.0)])
def test_a_target_is_two_shares(target: ErrorTarget) -> None:
    with pytest.raises(InputError, match="is not between 0 and 1"):
        target.checked()


def test_people_get_what_is_less_confident_than_the_first_wrong_label_too_many() -> None:
    rows = labelled([0.5 + i / 4001 for i in range(2000)])
    review = draw_sample(rows, size=300, seed=0)
    by_confidence = sorted(review["rows"], key=lambda row: -row["confidence"])
    for row in review["rows"]:
        row["label"] = "good"
    assert doubtful_texts(review, rows, TARGET, seed=0) == [], "no wrong label: every vote is kept"
    allowed = wrong_allowed([Stratum(s["documents"], s["sampled"]) for s in review["strata"]], TARGET)
    assert allowed == 1
    for place in (10, 100, 200, 250):
        by_confidence[place]["label"] = "bad"
    given = doubtful_texts(review, rows, TARGET, seed=0)
    audited = {row["document_id"] for row in review["rows"]}
    limit = by_confidence[100]["confidence"]  # the second wrong one from the top
    assert {row.document_id for row in given} == {
        row.document_id for row in rows if row.confidence <= limit and row.document_id not in audited
    }
    by_confidence[50]["label"] = None
    assert len(doubtful_texts(review, rows, TARGET, seed=0)) > len(given), "no answer counts as wrong"


def test_a_corrected_label_is_ranked_by_the_confidence_of_its_votes() -> None:
    rows = labelled([0.5 + i / 4001 for i in range(2000)])
    review = draw_sample(rows, size=300, seed=0)
    for i, row in enumerate(sorted(review["rows"], key=lambda row: row["confidence"])):
        row["label"] = "bad" if i % 3 == 0 else "good"
    given = doubtful_texts(review, rows, TARGET, seed=0)
    answers = {row["document_id"]: row["label"] for row in review["rows"]}
    review["doubtful"] = {
        **TARGET._asdict(),
        "rows": [{"document_id": row.document_id, "confidence": row.confidence, "label": "bad"} for row in given],
    }
    corrected = [
        row._replace(label=answers.get(row.document_id, "bad"), voted_label="good", confidence=1.0)
        if row.document_id in answers or row in given
        else row
        for row in rows
    ]
    again = doubtful_texts(review, corrected, TARGET, seed=0)
    assert [row.document_id for row in again] == [row.document_id for row in given]


def test_an_audit_of_all_texts_leaves_nothing_to_label_once_it_is_answered() -> None:
    rows = labelled([0.5 + i / 300 for i in range(100)])
    review = draw_sample(rows, size=100, seed=0)
    for row in review["rows"]:
        row["label"] = "bad"
    assert doubtful_texts(review, rows, TARGET, seed=0) == []
    review["rows"][3]["label"] = None
    with pytest.raises(InputError, match="all 100 labelled texts, 1 of them have no answer"):
        doubtful_texts(review, rows, TARGET, seed=0)


def test_the_target_is_met_once_every_doubtful_text_has_a_label() -> None:
    assert guarantee_of({"rows": []}) is None
    found = guarantee_of({"rows": [], "doubtful": {**TARGET._asdict(), "rows": [{"label": "good"}, {"label": None}]}})
    assert found == (TARGET, 2, 1)


def test_the_error_is_kept_where_confidence_says_nothing() -> None:
    kept = []
    for seed in range(60):
        draw = np.random.default_rng(seed)
        rows = labelled(draw.random(1500).tolist())
        wrong = draw.random(1500) < 0.05
        review = draw_sample(rows, size=200, seed=seed)
        for row in review["rows"]:
            row["label"] = "bad" if wrong[int(row["document_id"][1:])] else "good"
        people = {row["document_id"] for row in review["rows"]}
        people |= {row.document_id for row in doubtful_texts(review, rows, TARGET, seed=seed)}
        left = [wrong[i] for i, row in enumerate(rows) if row.document_id not in people]
        kept.append(sum(left) <= 0.02 * 1500)
    assert sum(kept) >= 54, sum(kept)
