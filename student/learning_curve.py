"""Accuracy against the number of voted texts, and what more of them would bring.

Source of the form: Hestness et al., "Deep Learning Scaling is Predictable, Empirically", 2017: the error
falls as a power of the number of examples, down to what cannot be learnt from such labels.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xpoll.core.errors import ConfigError
from xpoll.student.training_record import Forecast as Forecast
from xpoll.student.training_record import Point as Point
from xpoll.student.training_record import Training
from xpoll.student.training_task import TrainingTask, answers_of

_POWERS = np.linspace(0.1, 1.0, 19)
FEWEST_POINTS = 3


def check_curve(task: TrainingTask) -> None:
    """Finds out before any training whether a learning curve can be made.

    Raises:
        ConfigError: there are no held-out texts to score its points on, or students are not trained on votes.
    """
    if not task.config.learning_curve:
        return
    if task.recipe.ensemble is not None:
        raise ConfigError(
            "student.learning_curve is of students that are trained on votes, "
            f"and student.recipe = {task.config.recipe!r} has an ensemble",
            mend="--set student.recipe=robust, or --set student.learning_curve=[]",
        )
    if not task.parts.held_out:
        raise ConfigError(
            "student.learning_curve needs held-out texts, and there are none",
            mend="raise student.held_out or poll more texts, or --set student.learning_curve=[]",
        )


def with_curve(training: Training, task: TrainingTask, scratch: Path) -> Training:
    """What a student's training says of itself, with points and forecast; the last point is the student itself.

    Args:
        training: Of the student.
        task: What it was trained on.
        scratch: Keeps the answers of students that are done, for a call after a kill.
    """
    if not task.config.learning_curve:
        return training
    assert training.held_out_accuracy is not None
    order = np.random.default_rng(training.seed).permutation(task.parts.train)
    *smaller, everything = sizes(len(order), task.config.learning_curve)
    voted, texts = task.votes[task.parts.held_out].argmax(1), task.texts(task.parts.held_out)
    points = []
    for size in smaller:
        rows = task.rows(order[:size].tolist(), task.targets)
        found = answers_of(task, rows, texts, training.seed, scratch / f"curve-{size}")
        points.append(Point(size, float((found.argmax(1) == voted).mean())))
    points.append(Point(everything, training.held_out_accuracy))
    return training.model_copy(update={"learning_curve": tuple(points), "forecast": forecast(points)})


def sizes(num_rows: int, shares: Sequence[float]) -> list[int]:
    """Rows of each point, ascending and different; the last is all of them."""
    return sorted({*(max(2, round(share * num_rows)) for share in shares), num_rows})


def forecast(points: Sequence[Point], *, times: float = 2.0) -> Forecast | None:
    """The expected accuracy with `times` as many texts; None with fewer than three points.

    Fits error = floor + scale * rows^-power by least squares with floor and scale at least 0.
    """
    if len({point.rows for point in points}) < FEWEST_POINTS:
        return None
    rows = np.array([point.rows for point in points], float)
    error = np.array([1 - point.accuracy for point in points])
    best = min((_fitted(rows, error, power) for power in _POWERS), key=lambda fit: fit[0])
    _, floor, scale, power = best
    largest = rows.max()
    now, then = (floor + scale * n**-power for n in (largest, times * largest))
    return Forecast(int(times * largest), float(1 - then), float(now - then), float(floor))


def _fitted(rows: np.ndarray, error: np.ndarray, power: float) -> tuple[float, float, float, float]:
    """Squared error, floor, scale and power of the best fit with that power."""
    falls = rows**-power
    scale, floor = np.polyfit(falls, error, 1)
    if floor < 0:
        scale, floor = float((falls * error).sum() / (falls**2).sum()), 0.0
    if scale < 0:
        scale, floor = 0.0, float(error.mean())
    squared = float(((floor + scale * falls - error) ** 2).sum())
    return squared, float(floor), float(scale), float(power)
