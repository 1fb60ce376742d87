"""One student that is trained on what several answer."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.toy import LABELS, documents, row, settings
from xpoll.core.errors import ConfigError
from xpoll.student import ensemble
from xpoll.student.dataset import training_rows
from xpoll.student.held_out import HeldOut
from xpoll.student.inference.model import StudentModel
from xpoll.student.train import train_student
from xpoll.student.training.rows import Rows
from xpoll.student.training_task import TrainingTask


def a_task(encoder: Path, further: Rows | None, **changes: Any) -> TrainingTask:
    """Four voted rows: the second was pruned, the last is held out."""
    chosen = training_rows([*documents(4), row(4, None, text="loss")], LABELS)
    votes = np.eye(3)[[0, 1, 2, 0]]
    targets = votes * np.array([1, 0, 1, 1])[:, None]
    config = settings(encoder, **changes)
    return TrainingTask(chosen, LABELS, targets, votes, [], HeldOut([0, 1, 2], [3]), None, further, 1, config, "native")


Calls = list[tuple[Rows, list[str], int]]
"""What each member was trained on and asked, and its seed."""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Members that are not trained, and answer each label in turn."""
    calls: Calls = []

    def aside(_: TrainingTask, rows: Rows, texts: list[str], seed: int, __: Path) -> np.ndarray:
        calls.append((rows, texts, seed))
        return np.tile(np.eye(3)[(len(calls) - 1) % 3], (len(texts), 1))

    monkeypatch.setattr(ensemble, "aside", aside)
    return calls


def test_targets_are_the_members_mean_for_pruned_texts_too(encoder: Path, tmp_path: Path, calls: Calls) -> None:
    task = a_task(encoder, None, ensemble=2)
    taught = ensemble.taught_by_ensemble(task, 5, tmp_path)
    assert taught.targets.tolist() == [[0.5, 0.5, 0]] * 3 + [[1, 0, 0]], "the held-out row keeps its vote"
    assert taught.votes.tolist() == task.votes.tolist() and taught.num_pruned == 1
    assert [len(rows.texts) for rows, _, _ in calls] == [2, 2], "members learn votes that were not pruned"
    assert len({seed for _, _, seed in calls} | {5}) == 3
    assert len(taught.trained_on().texts) == 3


def test_members_that_are_done_are_not_trained_again(encoder: Path, tmp_path: Path, calls: Calls) -> None:
    task = a_task(encoder, None, ensemble=3)
    first = ensemble.taught_by_ensemble(task, 0, tmp_path)
    (tmp_path / "ensemble-2.json").unlink()
    again = ensemble.taught_by_ensemble(task, 0, tmp_path)
    assert len(calls) == 4
    assert not np.array_equal(first.targets, again.targets), "the fourth call answers another way"


def test_texts_of_self_training_are_labelled_by_the_ensemble_once(encoder: Path, tmp_path: Path, calls: Calls) -> None:
    pruned_text = documents(4)[1].text
    own = Rows([pruned_text, "loss"], [[0.9, 0.1, 0.0], [1.0, 0.0, 0.0]])
    taught = ensemble.taught_by_ensemble(a_task(encoder, own, ensemble=2), 0, tmp_path)
    assert len(calls[0][0].texts) == 4, "members learn what a student has labelled, too"
    assert taught.further == Rows(["loss"], [[0.5, 0.5, 0.0]])
    assert sorted(taught.trained_on().texts) == sorted([*(each.text for each in documents(4)[:3]), "loss"])


def test_members_differ_in_turn_and_label_made_up_texts(
    encoder: Path, tmp_path: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_as: list[tuple[int, float]] = []
    answers = ensemble.aside

    def aside(task: TrainingTask, *arguments: Any) -> np.ndarray:
        asked_as.append((task.config.frozen, task.config.learning_rate))
        return answers(task, *arguments)

    monkeypatch.setattr(ensemble, "aside", aside)
    members = [{}, {"frozen": 1, "learning_rate": 0.5}]
    taught = ensemble.taught_by_ensemble(a_task(encoder, None, ensemble=3, members=members, variants=2), 0, tmp_path)
    assert asked_as == [(0, 1e-2), (1, 0.5), (0, 1e-2)]
    assert [len(texts) for _, texts, _ in calls] == [9, 9, 9], "three texts and two of each"
    assert len(taught.trained_on().texts) == 9 and taught.num_further == 0
    np.testing.assert_allclose(taught.trained_on().targets, np.full((9, 3), 1 / 3))


def test_a_student_of_an_ensemble_answers_rightly_where_votes_are_wrong(encoder: Path, tmp_path: Path) -> None:
    rows = documents(150)
    for i in range(0, 150, 10):
        wrong = LABELS[(i + 1) % 3]
        rows[i] = rows[i]._replace(label=wrong, distribution=tuple(float(name == wrong) for name in LABELS))
    config = settings(encoder, refine="prune", ensemble=2, held_out=0.0)
    training = train_student(rows, LABELS, config=config, seed=0, output=tmp_path / "student")
    assert (training["ensemble"], training["rows"]) == (2, 150) and training["pruned"] >= 12
    assert not (tmp_path / ".student.training").exists()
    found = StudentModel(tmp_path / "student").probabilities([each.text for each in rows]).argmax(1)
    assert np.mean(found == [i % 3 for i in range(150)]) > 0.95


def test_a_learning_curve_of_an_ensembles_student_is_refused(encoder: Path, tmp_path: Path) -> None:
    config = settings(encoder, ensemble=2, learning_curve=[0.5])
    with pytest.raises(ConfigError, match=r"student\.ensemble is 2.*--set student\.ensemble=1"):
        train_student(documents(400), LABELS, config=config, seed=0, output=tmp_path / "student")
    assert not (tmp_path / "student").exists()
