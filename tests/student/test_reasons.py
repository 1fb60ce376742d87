"""What was stated for a vote says what is wrong with it, read by a classifier that did not see it."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.support.toy import LABELS, documents, settings
from xpoll.core.errors import ConfigError
from xpoll.core.records import VOTE_SCHEMA, Vote, to_table
from xpoll.student.dataset import read_reasons
from xpoll.student.inference.model import StudentModel
from xpoll.student.reasons import reason_probabilities
from xpoll.student.train import train_student

SAYS = {"bad": "Sales fall, so it is bad.", "fair": "Nothing changes.", "good": "Profit rises, which is good."}


def test_a_label_that_does_not_follow_from_its_reasons_is_doubted() -> None:
    truth = np.arange(60) % 3
    votes = np.eye(3)[truth]
    votes[7] = np.eye(3)[(truth[7] + 1) % 3]
    reasons = [[SAYS[LABELS[i]]] for i in truth]
    found = reason_probabilities(reasons, votes, folds=5, seed=0)
    assert found.argmax(1).tolist() == truth.tolist(), "row 7 is voted wrong, and its reason says so"
    np.testing.assert_allclose(found.sum(1), 1)


def test_a_row_without_a_readable_reason_keeps_its_vote() -> None:
    votes = np.tile([0.6, 0.3, 0.1], (8, 1))
    reasons = [[], ["..."], ["  "], *[[SAYS["bad"], SAYS["good"]]] * 5]
    found = reason_probabilities(reasons, votes, folds=2, seed=0)
    np.testing.assert_allclose(found[:3], votes[:3])
    np.testing.assert_allclose(found[3:], votes[3:], atol=0.02)


def test_reasons_for_one_label_only_teach_that_label() -> None:
    votes = np.eye(3)[[2] * 6]
    np.testing.assert_allclose(reason_probabilities([["Up."]] * 6, votes, folds=3, seed=0), votes)
    np.testing.assert_allclose(reason_probabilities([["Up."], []], votes[:2], folds=3, seed=0), votes[:2])


def test_reasons_of_unreadable_votes_are_left_out(tmp_path: Path) -> None:
    votes = [
        Vote("a", "p", 0, "good", stated_reason="Up."),
        Vote("a", "p", 1, None, unparsable="no JSON", stated_reason="Cut off"),
        Vote("a", "p", 2, "bad", stated_reason="Down."),
        Vote("b", "p", 0, "good"),
    ]
    pq.write_table(to_table(votes, VOTE_SCHEMA), tmp_path / "votes.parquet")
    assert read_reasons(tmp_path / "votes.parquet") == {"a": ["Up.", "Down."]}


def test_cotraining_learns_past_wrong_votes(encoder: Path, tmp_path: Path) -> None:
    rows = documents(150)
    reasons = {row.document_id: [SAYS[str(row.label)]] for row in rows}
    for i in range(0, 150, 7):
        wrong = (LABELS.index(str(rows[i].label)) + 1) % 3
        rows[i] = rows[i]._replace(label=LABELS[wrong], distribution=tuple(np.eye(3)[wrong].tolist()))
    config = settings(encoder, refine="cotrain", held_out=0.0)
    training = train_student(rows, LABELS, config=config, seed=0, output=tmp_path / "student", reasons=reasons)
    assert (training["refine"], training["pruned"]) == ("cotrain", 0)
    found = StudentModel(tmp_path / "student").probabilities([row.text for row in rows]).argmax(1)
    assert np.mean(found == np.arange(150) % 3) > 0.95


def test_cotraining_without_a_reason_is_refused_before_any_training(encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"it states none -> set panel.answer to chain_of_thought"):
        train_student(
            documents(30), LABELS, config=settings(encoder, refine="cotrain"), seed=0, output=tmp_path / "student"
        )
    assert not list(tmp_path.iterdir())
