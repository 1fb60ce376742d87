"""Students that are trained beside the one that is kept: on other rows, to judge votes, or on fewer, for the curve."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xpoll.core.errors import ConfigError
from xpoll.core.files import read_json, write_json
from xpoll.student import learning_curve, refine
from xpoll.student.reasons import reason_probabilities
from xpoll.student.training_task import TrainingTask, aside

BETWEEN = 3_000_017
"""Step from the seed of one judge to the next: far from the seeds of other students, which count up by one."""


def refined(task: TrainingTask, seed: int, scratch: Path) -> TrainingTask:
    """The task with targets that students of other rows had a say in, as `student.refine` wants it."""
    if task.config.refine == "none":
        return task
    numbers = task.parts.train
    # Students that judge a vote need not be averages: each would take `average` times as long.
    judged_by = task._replace(config=task.config.model_copy(update={"average": 1}))

    def predict(outside: Sequence[int], inside: Sequence[int]) -> np.ndarray:
        rows = task.rows([numbers[i] for i in outside], task.targets)
        texts = task.texts([numbers[i] for i in inside])
        answers = []
        for number in range(task.config.judges):
            kept = scratch / f"unseen-{inside[0]}-{number}.json"
            if not kept.exists():
                found = aside(judged_by, rows, texts, seed + number * BETWEEN, scratch / kept.stem)
                write_json(kept, found.tolist())
            answers.append(read_json(kept))
        found_by_all: np.ndarray = np.mean(answers, axis=0)
        return found_by_all

    unseen = refine.unseen_probabilities(len(numbers), len(task.labels), predict, folds=task.config.folds, seed=seed)
    better = task.targets.copy()
    if task.config.refine == "prune":
        better[numbers] = refine.pruned(task.targets[numbers], unseen)
    elif task.config.refine == "cotrain":
        reasons, folds = [task.reasons[i] for i in numbers], task.config.folds
        reasoned = reason_probabilities(reasons, task.targets[numbers], folds=folds, seed=seed)
        better[numbers] = refine.cotrained(unseen, reasoned)
    else:
        better[numbers] = refine.distilled(task.targets[numbers], unseen, trust=task.config.trust)
    whole = task.votes.copy()
    whole[numbers] = np.maximum(unseen, 1e-9)
    num_pruned = sum(not better[i].any() for i in numbers)
    return task._replace(targets=better, unseen=whole, num_pruned=num_pruned)


def check_reasons(task: TrainingTask) -> None:
    """Finds out before any training whether there are reasons to read.

    Raises:
        ConfigError: `student.refine` wants them, and the panel states none.
    """
    if task.config.refine == "cotrain" and not any(task.reasons):
        raise ConfigError(
            "student.refine is cotrain, which reads the reasons that the panel states, and it states none",
            mend="set panel.answer to chain_of_thought and poll again, or --set student.refine=prune",
        )


def check_curve(task: TrainingTask) -> None:
    """Finds out before any training whether a learning curve can be made.

    Raises:
        ConfigError: there are no held-out texts to score its points on, or students are not trained on votes.
    """
    if task.config.learning_curve and task.config.ensemble > 1:
        raise ConfigError(
            "student.learning_curve is of students that are trained on votes, "
            f"and student.ensemble is {task.config.ensemble}",
            mend="--set student.ensemble=1, or --set student.learning_curve=[]",
        )
    if task.config.learning_curve and not task.parts.held_out:
        raise ConfigError(
            "student.learning_curve needs held-out texts, and there are none",
            mend="raise student.held_out or poll more texts, or --set student.learning_curve=[]",
        )


def curve_of(task: TrainingTask, whole: dict[str, Any], seed: int, scratch: Path) -> dict[str, Any]:
    """Points and forecast as training.json has them; the last point is the student itself."""
    if not task.config.learning_curve:
        return {}
    order = np.random.default_rng(seed).permutation(task.parts.train)
    *smaller, everything = learning_curve.sizes(len(order), task.config.learning_curve)
    points = []
    voted = task.votes[task.parts.held_out].argmax(1)
    for size in smaller:
        kept = scratch / f"curve-{size}.json"
        if not kept.exists():
            texts = task.texts(task.parts.held_out)
            found = aside(task, task.rows(order[:size].tolist(), task.targets), texts, seed, scratch / kept.stem)
            write_json(kept, float((found.argmax(1) == voted).mean()))
        points.append(learning_curve.Point(size, read_json(kept)))
    points.append(learning_curve.Point(everything, whole["held_out_accuracy"]))
    expected = learning_curve.forecast(points)
    return {
        "learning_curve": [point._asdict() for point in points],
        "forecast": expected._asdict() if expected else None,
    }
