"""Accuracy against the number of voted texts, and what more of them would bring.

Source of the form: Hestness et al., "Deep Learning Scaling is Predictable, Empirically", 2017: the error
falls as a power of the number of examples, down to what cannot be learnt from such labels.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_POWERS = np.linspace(0.1, 1.0, 19)
FEWEST_POINTS = 3


class Point(NamedTuple):
    """A student trained on `rows` voted texts, and its share of held-out votes met."""

    rows: int
    accuracy: float


class Forecast(NamedTuple):
    """What a student trained on `rows` texts is expected to get; `floor` is the error that no number removes."""

    rows: int
    accuracy: float
    gain: float
    """Beyond the largest point's fitted accuracy, 0 to 1."""
    floor: float


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
