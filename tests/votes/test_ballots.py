"""Votes become columns in which each row says who voted for what about which document."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from xpoll.core.records import Key, Vote
from xpoll.personas.label_order import Shown
from xpoll.votes.ballots import Ballots, at_known, ballots_of, normalised

LABELS = ["no", "yes"]


def voted(
    document_id: str, persona: str, label: str | None, shares: Sequence[float] | None = None, **more: object
) -> Vote:
    return Vote(document_id, persona, 0, label, distribution=tuple(shares) if shares else None)._replace(**more)


def test_each_readable_vote_is_a_row_and_each_answer_is_counted() -> None:
    votes = [
        voted("d1", "b", "yes"),
        voted("d0", "a", "no", sample=3),
        voted("elsewhere", "a", "no"),
        voted("d1", "c", None),
        voted("d1", "a", "yes"),
    ]
    ballots = ballots_of(["d0", "d1", "d2"], votes, LABELS, known={"d1": "no"})
    assert (ballots.labels, ballots.persona_ids, ballots.num_documents) == (LABELS, ["a", "b"], 3)
    assert ballots.document_of.tolist() == [1, 0, 1]
    assert ballots.persona_of.tolist() == [1, 0, 0]
    assert ballots.label_of.tolist() == [1, 0, 1]
    assert ballots.sample_of is not None and ballots.sample_of.tolist() == [0, 3, 0]
    assert ballots.answers.tolist() == [1, 3, 0]
    assert ballots.counts().tolist() == [[1, 0], [0, 2], [0, 0]]
    assert ballots.counts(np.array([0.5, 2.0, 0.25])).tolist() == [[2.0, 0], [0, 0.75], [0, 0]]
    assert ballots.known is not None and ballots.known.tolist() == [-1, 0, -1]
    assert (ballots.distributions, ballots.rotation_of, ballots.probes, ballots.teacher_of) == (None,) * 4
    assert (ballots.teacher_ids, ballots.num_teachers) == ((), 1)


def test_without_a_count_of_answers_the_votes_are_all_there_are() -> None:
    ballots = replace(
        ballots_of(["d0", "d1"], [voted("d0", "a", "no"), voted("d0", "b", None)], LABELS), answers_of=None
    )
    assert ballots.answers.tolist() == [1, 0]


@pytest.mark.parametrize("first", [0, 1, 2])
def test_votes_without_a_distribution_have_a_row_of_nan_wherever_they_stand(first: int) -> None:
    shares = [(0.25, 0.75), None, None]
    moved = shares[-first:] + shares[:-first]
    votes = [voted("d", "a", "no", each) for each in (*moved, (0.5, 0.5))]
    table = ballots_of(["d"], votes, LABELS).distributions
    assert table is not None
    assert np.isnan(table).tolist() == [[each is None] * 2 for each in (*moved, True)]
    assert table[first].tolist() == [0.25, 0.75]
    assert table[-1].tolist() == [0.5, 0.5]


def test_probes_of_voters_with_a_distribution_are_kept_with_the_order_that_they_were_shown() -> None:
    shown = Shown(("no", "yes"), 0, {"a": 0})
    votes = [voted(f"d{i}", "a", "no") for i in range(8)]
    probes = [
        *(voted(f"probe-{i}", "a", None, (0.5, 0.5)) for i in range(8)),
        voted("probe-0", "stranger", "no", (0.5, 0.5)),
        voted("probe-0", "a", "no"),
    ]
    ballots = ballots_of([vote.document_id for vote in votes], votes, LABELS, shown={None: shown}, probes=probes)
    assert ballots.rotation_of is not None and ballots.probes is not None
    assert ballots.rotation_of.tolist() == [shown.rotation(Key(f"d{i}", "a", 0)) for i in range(8)]
    assert ballots.probes.rotation_of.tolist() == [shown.rotation(Key(f"probe-{i}", "a", 0)) for i in range(8)]
    assert len(set(ballots.probes.rotation_of.tolist())) == 2
    assert (ballots.probes.persona_of.tolist(), ballots.probes.distributions.tolist()) == ([0] * 8, [[0.5, 0.5]] * 8)


def of_two_teachers() -> Ballots:
    return ballots_of(
        ["d0", "d1"],
        [
            voted("d0", "a", "no", teacher="large"),
            voted("d0", "b", "no", teacher="large"),
            voted("d0", "a", "yes", teacher="small"),
            voted("d1", "a", "yes", teacher="large"),
            voted("d1", "b", "no", (0.5, 0.5), teacher="small"),
        ],
        LABELS,
    )


def test_a_persona_of_a_teacher_is_a_voter_and_a_teacher_has_one_voice_about_a_document() -> None:
    ballots = of_two_teachers()
    assert (ballots.teacher_ids, ballots.num_teachers, len(ballots.persona_ids)) == (("large", "small"), 2, 4)
    assert ballots.teacher_of is not None
    assert ballots.teacher_of[ballots.persona_of].tolist() == [0, 0, 1, 0, 1]
    assert ballots.voices(np.ones(5)).tolist() == [0.5, 0.5, 1, 1, 1]
    assert ballots.voices(np.array([3.0, 1.0, 5.0, 2.0, 2.0])).tolist() == [0.75, 0.25, 1, 1, 1]
    weights = np.array([3.0, 1.0])
    assert ballots_of(["d"], [voted("d", "a", "no")] * 2, LABELS).voices(weights) is weights


def test_some_of_the_votes_keep_all_their_columns() -> None:
    ballots = replace(of_two_teachers(), rotation_of=np.arange(5), sample_of=np.arange(5))
    small = ballots.of_teacher(1)
    assert small.counts().tolist() == [[0, 1], [1, 0]]
    assert small.rotation_of is not None and small.sample_of is not None and small.distributions is not None
    assert (small.rotation_of.tolist(), small.sample_of.tolist()) == ([2, 4], [2, 4])
    assert np.isnan(small.distributions).tolist() == [[True, True], [False, False]]
    without = replace(ballots, rotation_of=None, sample_of=None, distributions=None).of_teacher(0)
    assert without.document_of.tolist() == [0, 0, 1]
    assert (without.rotation_of, without.sample_of, without.distributions) == (None, None, None)


def test_shares_are_normalised_and_certain_where_the_label_is_known() -> None:
    shares = normalised(np.array([[1.0, 3.0], [0.0, 0.0]]))
    assert shares[0].tolist() == [0.25, 0.75]
    assert np.isnan(shares[1]).all()
    assert at_known(shares, None) is shares
    assert at_known(shares, np.array([0, 1])).tolist() == [[1, 0], [0, 1]]
    assert at_known(shares, np.array([-1, 0]))[0].tolist() == [0.25, 0.75]
