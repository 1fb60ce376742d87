"""Votes that students of other texts contradict are left out, without a gold label."""

from pathlib import Path

import numpy as np
import pytest

from tests.support.toy import LABELS, documents, settings
from xpoll.core.errors import InputError
from xpoll.student import label_noise
from xpoll.student.inference.model import StudentModel
from xpoll.student.recipe import Prune, Recipe
from xpoll.student.train import train_student


def test_each_row_is_judged_once_by_a_student_that_did_not_see_it() -> None:
    judged: list[int] = []

    def predict(outside: list[int], inside: list[int]) -> np.ndarray:
        assert not set(outside) & set(inside)
        assert sorted([*outside, *inside]) == list(range(10))
        judged.extend(inside)
        return np.array([[i, 1.0] for i in inside])

    found = label_noise.unseen_probabilities([f"text {i}" for i in range(10)], 2, predict, folds=3, seed=0)
    assert sorted(judged) == list(range(10))
    assert found[:, 0].tolist() == list(range(10))


def test_a_text_that_is_there_twice_is_judged_by_students_that_saw_neither() -> None:
    texts = ["Late again", "fine", "late  AGAIN", "good", "bad", "so so"] * 3

    def predict(outside: list[int], inside: list[int]) -> np.ndarray:
        seen = {" ".join(texts[i].casefold().split()) for i in outside}
        assert not seen & {" ".join(texts[i].casefold().split()) for i in inside}
        return np.ones((len(inside), 2))

    assert label_noise.unseen_probabilities(texts, 2, predict, folds=3, seed=0).all()


def test_pruning_leaves_out_votes_that_the_students_are_confidently_against() -> None:
    votes = np.array([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.1, 0.9]])
    unseen = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8]])
    assert label_noise.pruned(votes, unseen).any(1).tolist() == [True, True, False, True]


def test_several_judges_of_a_part_are_heard_by_their_mean(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two judges say 0.2 and 0.1 of the first label of every text."""
    seeds: list[int] = []
    heard: list[np.ndarray] = []

    def answers_of(task: object, rows: object, texts: list[str], seed: int, checkpoints: Path) -> np.ndarray:
        seeds.append(seed)
        first = (1 + len(seeds) % 2) / 10
        return np.tile([first, 1 - first, 0.0], (len(texts), 1))

    def pruned(targets: np.ndarray, unseen: np.ndarray) -> np.ndarray:
        heard.append(unseen)
        return targets

    monkeypatch.setattr(label_noise, "answers_of", answers_of)
    monkeypatch.setattr(label_noise, "pruned", pruned)
    config, recipe = settings(encoder, held_out=0.0), Recipe(prune=Prune(folds=2, judges=2))
    train_student(documents(30), LABELS, config=config, seed=4, output=tmp_path / "student", recipe=recipe)
    assert len(seeds) == 4
    assert seeds[0] == seeds[2] != seeds[1] == seeds[3], "each judge has a seed of its own"
    assert 4 not in seeds, "and so has the student"
    np.testing.assert_allclose(heard[0], np.tile([0.15, 0.85, 0.0], (30, 1)))


def test_the_recipe_robust_learns_past_wrong_votes(encoder: Path, tmp_path: Path) -> None:
    rows = documents(150)
    for i in range(0, 150, 7):
        wrong = (LABELS.index(str(rows[i].label)) + 1) % 3
        rows[i] = rows[i]._replace(
            label=LABELS[wrong], distribution=tuple(0.9 if k == wrong else 0.05 for k in range(3))
        )
    config = settings(encoder, recipe="robust", held_out=0.0)
    training = train_student(rows, LABELS, config=config, seed=0, output=tmp_path / "student")
    assert training.pruned >= 18 and training.recipe == "robust"
    assert (tmp_path / "student" / "calibration.json").exists(), "unseen rows fit the temperature"
    found = StudentModel(tmp_path / "student").probabilities([row.text for row in rows]).argmax(1)
    truth = [i % 3 for i in range(150)]
    assert np.mean(found == truth) > 0.95, "the student answers what the wrong votes should have been"


def test_votes_that_are_all_contradicted_are_one_line(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_noise, "answers_of", lambda _, __, texts, *___: np.full((len(texts), 3), 1 / 3))
    monkeypatch.setattr(label_noise, "pruned", lambda targets, _: np.zeros_like(targets))
    with pytest.raises(InputError, match="contradict all 12 votes, .* -> poll more texts, or"):
        train_student(
            documents(12), LABELS, config=settings(encoder, recipe="robust"), seed=0, output=tmp_path / "student"
        )
    assert not list(tmp_path.iterdir())
