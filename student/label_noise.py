"""Finds votes that are likely wrong by students that have not seen them, and leaves these out of training.

The voted texts are cut into folds. For each fold, students are trained on the others and say what they make of the
fold. A vote and a student that never saw that text err for different reasons, so a vote that the students are
confidently against is more often wrong than right (confident learning). No gold label is used.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from xpoll.core.confident_learning import confident_labels
from xpoll.core.errors import InputError
from xpoll.core.sameness import first_of_same
from xpoll.student.training_task import TrainingTask, answers_of, sub_seed


def without_label_noise(task: TrainingTask, seed: int, scratch: Path) -> TrainingTask:
    """The task without the votes that students of other texts contradict, where the recipe prunes.

    Args:
        task: Before any training.
        seed: Of the folds; judges have seeds of their own.
        scratch: Keeps the answers of judges that are done, for a call after a kill.

    Raises:
        InputError: they contradict every vote.
    """
    if (prune := task.recipe.prune) is None:
        return task
    numbers = task.parts.train

    def predict(outside: Sequence[int], inside: Sequence[int]) -> np.ndarray:
        rows = task.rows([numbers[i] for i in outside], task.targets)
        texts = task.texts([numbers[i] for i in inside])
        answers = [
            answers_of(task, rows, texts, sub_seed(seed, "judge", judge), scratch / f"judge-{inside[0]}-{judge}")
            for judge in range(prune.judges)
        ]
        mean: np.ndarray = np.mean(answers, axis=0)
        return mean

    texts = task.texts(numbers)
    unseen = unseen_probabilities(texts, len(task.labels), predict, folds=prune.folds, seed=seed)
    targets = task.targets.copy()
    targets[numbers] = pruned(task.targets[numbers], unseen)
    whole = task.votes.copy()
    whole[numbers] = np.maximum(unseen, 1e-9)
    num_pruned = sum(not targets[i].any() for i in numbers)
    if num_pruned == len(numbers):
        raise InputError(
            f"students of other texts contradict all {num_pruned} votes, so nothing is left to train on",
            mend="poll more texts, or --set student.recipe=plain",
        )
    return task._replace(targets=targets, unseen=whole, num_pruned=num_pruned)


def unseen_probabilities(
    texts: Sequence[str],
    num_labels: int,
    predict: Callable[[Sequence[int], Sequence[int]], np.ndarray],
    *,
    folds: int,
    seed: int,
) -> np.ndarray:
    """(texts, labels) float64: for each text what a student says that was trained on the other folds.

    Args:
        texts: What was voted on; the same text is in one fold, however often it is there.
        num_labels: Labels of the task.
        predict: From numbers of training rows and of held-out rows to (held-out rows, labels) probabilities.
        folds: At least 2.
        seed: Of the assignment of rows to folds.
    """
    fold_of = np.random.default_rng(seed).permutation(len(texts))[first_of_same(texts)] % folds
    found = np.zeros((len(texts), num_labels))
    for fold in range(folds):
        outside, inside = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        if len(inside):
            found[inside] = predict(outside.tolist(), inside.tolist())
    return found


def pruned(targets: np.ndarray, unseen: np.ndarray) -> np.ndarray:
    """(rows, labels): the targets, all 0 where the students are confidently against the voted label.

    Args:
        targets: (rows, labels) voted distributions.
        unseen: (rows, labels) probabilities of students that did not see the row.
    """
    voted = targets.argmax(1)
    likely = confident_labels(voted, unseen)
    made: np.ndarray = targets * ((likely < 0) | (likely == voted))[:, None]
    return made
