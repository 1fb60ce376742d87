"""Which rows an estimate is made of: only those that stand for the pile."""

import pytest

from xpoll.core.errors import InputError
from xpoll.core.records import Consensus
from xpoll.votes.review.pile import MOST_GROUPS, pile_beside_gold, pile_of_review, shares_by_group
from xpoll.votes.review.sample import draw_sample

LABELS = ["bad", "good"]


def voted(number: int, label: str | None = "good", **more: object) -> Consensus:
    return Consensus(f"d{number}", "train", "", label, (0.1, 0.9), 0.5 + number / 1000, 3, 0, 1.0)._replace(**more)  # type: ignore[arg-type]


def test_the_audit_is_the_answered_sample_and_the_votes_are_those_before_the_correction() -> None:
    rows = [*(voted(i) for i in range(40)), voted(90, None), voted(91, split="gold", gold_label="bad")]
    review = draw_sample(rows, size=10, seed=0)
    for place, row in enumerate(review["rows"]):
        row["label"] = None if place in (2, 8, 9) else "bad"
    review["doubtful"] = {"max_error": 0.02, "confidence": 0.95, "rows": [{"document_id": "d0", "label": "bad"}]}
    corrected = [
        row._replace(label="bad", voted_label="good") if row.document_id == review["rows"][0]["document_id"] else row
        for row in rows
    ]
    pile = pile_of_review(corrected, LABELS, review)
    assert len(pile.document_ids) == 40 and pile.voted.tolist() == [1] * 40
    assert len(pile.audited_ids) == 7, "what people labelled because it was doubtful is no random sample"
    assert (pile.without_label, pile.unanswered, pile.skipped) == (1, 3, 1)
    assert pile.audit.weight.tolist() == [4.0] * 7


def test_gold_rows_stand_beside_all_texts_of_the_pile() -> None:
    rows = [
        voted(0),
        voted(1, None),
        voted(2, split="gold", gold_label="bad"),
        voted(3, None, split="gold", gold_label="good"),
    ]
    pile = pile_beside_gold(rows, LABELS)
    assert pile.document_ids == ["d0", "d1"] and pile.voted.tolist() == [1, -1]
    assert pile.audited_ids == ["d2", "d3"]
    assert (pile.audit.truth.tolist(), pile.audit.voted.tolist()) == ([0, 1], [1, -1])
    assert pile.audit.source == "gold"


def test_each_group_is_a_pile_of_its_own() -> None:
    rows = [voted(i) for i in range(200)]
    review = draw_sample(rows, size=100, seed=0)
    for row in review["rows"]:
        row["label"] = "good" if int(row["document_id"][1:]) % 2 else "bad"
    pile = pile_of_review(rows, LABELS, review)
    found = shares_by_group(pile, 2, {f"d{i}": "odd" if i % 2 else "even" for i in range(200)})
    assert list(found) == ["even", "odd"]
    for name, share in (("even", 0.0), ("odd", 1.0)):
        texts, audited, labels = found[name]
        assert texts == 100 and 30 < audited < 70
        assert labels[1].estimate is not None and labels[1].estimate.value == share
    whole = shares_by_group(pile, 2, None)[None]
    assert whole[:2] == (200, 100)


def test_groups_that_cannot_be_are_refused() -> None:
    pile = pile_beside_gold([voted(i) for i in range(MOST_GROUPS + 1)], LABELS)
    with pytest.raises(InputError, match="makes 101 groups"):
        shares_by_group(pile, 2, {each: each for each in pile.document_ids})
    with pytest.raises(InputError, match="'d0' of the run is not in the input file"):
        shares_by_group(pile, 2, {})
