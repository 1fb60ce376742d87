"""One student that is trained on what several answer."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.toy import LABELS, documents, row, settings
from xpoll.core.errors import ConfigError
from xpoll.student import ensemble, training_task
from xpoll.student.dataset import HeldOut, Rows, training_rows
from xpoll.student.inference.model import StudentModel
from xpoll.student.recipe import Recipe
from xpoll.student.train import train_student
from xpoll.student.training_task import TrainingTask, answers_of, sub_seed


def recipe_of(members: list[dict[str, Any]], **more: Any) -> Recipe:
    return Recipe.model_validate({"ensemble": {"members": members, **more}})


def a_task(encoder: Path, recipe: Recipe) -> TrainingTask:
    """Four voted rows: the second was pruned, the last is held out."""
    chosen = training_rows([*documents(4), row(4, None, text="loss")], LABELS)
    votes = np.eye(3)[[0, 1, 2, 0]]
    targets = votes * np.array([1, 0, 1, 1])[:, None]
    parts, config = HeldOut([0, 1, 2], [3]), settings(encoder)
    return TrainingTask(chosen, LABELS, targets, votes, parts, None, None, 1, config, recipe, "native")


Calls = list[tuple[TrainingTask, Rows, list[str], int]]
"""How each member was trained, on what, what it was asked, and its seed."""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Members that are not trained, and answer each label in turn."""
    calls: Calls = []

    def answers_of(task: TrainingTask, rows: Rows, texts: list[str], seed: int, __: Path) -> np.ndarray:
        calls.append((task, rows, texts, seed))
        return np.tile(np.eye(3)[(len(calls) - 1) % 3], (len(texts), 1))

    monkeypatch.setattr(ensemble, "answers_of", answers_of)
    return calls


def test_targets_are_the_members_mean_for_pruned_texts_too(encoder: Path, tmp_path: Path, calls: Calls) -> None:
    task = a_task(encoder, recipe_of([{}, {}]))
    taught = ensemble.taught_by_ensemble(task, 5, tmp_path)
    assert taught.targets.tolist() == [[0.5, 0.5, 0]] * 3 + [[1, 0, 0]], "the held-out row keeps its vote"
    assert taught.votes.tolist() == task.votes.tolist() and taught.num_pruned == 1
    assert [len(rows.texts) for _, rows, _, _ in calls] == [2, 2], "members learn votes that were not pruned"
    assert len({seed for *_, seed in calls} | {5}) == 3
    assert len(taught.trained_on().texts) == 3


def test_further_students_have_seeds_that_no_student_has() -> None:
    found = [sub_seed(seed, purpose, n) for seed in range(5) for purpose in ("judge", "member") for n in range(4)]
    assert len(set(found)) == len(found) and min(found) > 1000
    assert found[0] == sub_seed(0, "judge", 0)


def test_students_that_are_done_are_not_trained_again(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = a_task(encoder, Recipe())
    rows, scratch = task.rows([0, 2], task.targets), tmp_path / "member-0"
    first = answers_of(task, rows, ["loss", "flat"], 0, scratch)
    monkeypatch.setattr(training_task, "load_for_training", None)
    np.testing.assert_array_equal(answers_of(task, rows, ["loss", "flat"], 0, scratch), first)
    assert first.shape == (2, 3) and [path.name for path in tmp_path.iterdir()] == ["member-0.json"]


def test_members_differ_and_label_made_up_texts(encoder: Path, tmp_path: Path, calls: Calls) -> None:
    recipe = recipe_of(
        [{}, {"frozen": 1, "learning_rate_factor": 0.5, "more_epochs": 1, "dropout": 0.1}, {}], variants=2
    )
    taught = ensemble.taught_by_ensemble(a_task(encoder, recipe), 0, tmp_path)
    trained = [(each.config.frozen, each.config.learning_rate, each.config.epochs) for each, *_ in calls]
    assert trained == [(0, 1e-2, 8), (1, 5e-3, 9), (0, 1e-2, 8)]
    assert [each.recipe.dropout for each, *_ in calls] == [None, 0.1, None]
    assert [len(texts) for _, _, texts, _ in calls] == [9, 9, 9], "three texts and two made from each"
    np.testing.assert_allclose(taught.trained_on().targets, np.full((9, 3), 1 / 3))


def test_a_student_of_an_ensemble_answers_rightly_where_votes_are_wrong(encoder: Path, tmp_path: Path) -> None:
    rows = documents(150)
    for i in range(0, 150, 10):
        wrong = LABELS[(i + 1) % 3]
        rows[i] = rows[i]._replace(label=wrong, distribution=tuple(float(name == wrong) for name in LABELS))
    recipe = Recipe.model_validate({"prune": {}, "ensemble": {"members": [{}, {}]}})
    config, output = settings(encoder, held_out=0.0), tmp_path / "student"
    training = train_student(rows, LABELS, config=config, seed=0, output=output, recipe=recipe)
    assert (training.members, training.rows) == (2, 150) and training.pruned >= 12
    assert not (tmp_path / ".student.training").exists()
    found = StudentModel(tmp_path / "student").probabilities([each.text for each in rows]).argmax(1)
    assert np.mean(found == [i % 3 for i in range(150)]) > 0.95


def test_a_learning_curve_of_an_ensembles_student_is_refused(encoder: Path, tmp_path: Path) -> None:
    config = settings(encoder, recipe="ensemble", learning_curve=[0.5])
    with pytest.raises(
        ConfigError, match=r"student\.recipe = 'ensemble' has an ensemble.*--set student\.recipe=robust"
    ):
        train_student(documents(400), LABELS, config=config, seed=0, output=tmp_path / "student")
    assert not (tmp_path / "student").exists()
