"""Texts without a vote are trained on with the student's own labels, where it is sure of them."""

from pathlib import Path

import numpy as np

from tests.support.toy import FILLERS, LABELS, documents, row, settings
from xpoll.student import self_training
from xpoll.student.inference.model import StudentModel
from xpoll.student.train import train_student


def test_texts_that_the_votes_left_open_are_trained_on_where_a_student_is_sure(encoder: Path, tmp_path: Path) -> None:
    voted, unvoted = documents(90), [row._replace(label=None) for row in documents(60, seed=1)]
    empty = row(500, None, text=" ".join(FILLERS))  # has no telling word, so nobody can be sure of it
    config = settings(encoder, self_training=True, held_out=0.0)
    training = train_student([*voted, *unvoted, empty], LABELS, config=config, seed=0, output=tmp_path / "student")
    assert (training["rows"], training["abstained"], training["pruned"]) == (90, 61, 0)
    assert 50 <= training["self_trained"] <= 61
    found = StudentModel(tmp_path / "student").probabilities([row.text for row in unvoted]).argmax(1)
    assert np.mean(found == [i % 3 for i in range(60)]) > 0.95


def test_pruned_votes_are_labelled_anew(encoder: Path, tmp_path: Path) -> None:
    rows = documents(150)
    for i in range(0, 150, 10):
        wrong = LABELS[(i + 1) % 3]
        rows[i] = rows[i]._replace(label=wrong, distribution=tuple(float(name == wrong) for name in LABELS))
    config = settings(encoder, refine="prune", self_training=True, held_out=0.0)
    training = train_student(rows, LABELS, config=config, seed=0, output=tmp_path / "student")
    assert training["pruned"] >= 12
    assert 0 < training["self_trained"] <= training["pruned"]


def test_texts_that_nobody_is_sure_of_stay_out(encoder: Path, tmp_path: Path, monkeypatch: object) -> None:
    monkeypatch.setattr(self_training, "SURE", 1.1)  # type: ignore[attr-defined]
    rows = [*documents(60), row(60, None, text="loss")]
    config = settings(encoder, self_training=True, epochs=1)
    training = train_student(rows, LABELS, config=config, seed=0, output=tmp_path / "student")
    assert training["self_trained"] == 0


def test_without_self_training_texts_without_a_vote_are_left_out(encoder: Path, tmp_path: Path) -> None:
    rows = [*documents(60), row(60, None, text="loss")]
    training = train_student(rows, LABELS, config=settings(encoder, epochs=1), seed=0, output=tmp_path / "student")
    assert (training["self_trained"], training["abstained"]) == (0, 1)
