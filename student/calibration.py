"""How sure a student may sound: one temperature that its logits are divided by; of label sets also thresholds.

Fitted on the votes of held-out rows, saved in the student's folder and used whenever it predicts. It
changes no label; a threshold does, and says from which probability on a label is in the set.

Source: Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from xpoll.core.errors import ModelError
from xpoll.core.files import json_value, write_json

FILE = "calibration.json"
FEWEST_YES = 10
"""Held-out texts that have a label, from which on it has a threshold of its own."""
_LOWEST, _HIGHEST = 0.05, 20.0


def fitted_temperature(logits: np.ndarray, targets: np.ndarray) -> float:
    """The temperature with the least cross entropy against the targets, within 0.05 and 20.

    Args:
        logits: (rows, labels).
        targets: (rows, labels) distributions.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    def cross_entropy(inverse: float) -> float:
        """Convex in the inverse temperature."""
        return float(-(targets * log_softmax(inverse * logits, axis=-1)).sum(-1).mean())

    return float(1 / minimize_scalar(cross_entropy, bounds=(1 / _HIGHEST, 1 / _LOWEST), method="bounded").x)


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """(rows, labels) float32 probabilities."""
    from scipy.special import softmax as scipy_softmax

    made: np.ndarray = scipy_softmax(logits.astype(np.float64) / temperature, axis=-1).astype(np.float32)
    return made


def sigmoid(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """(rows, labels) float32 probabilities, each label's by itself."""
    from scipy.special import expit

    made: np.ndarray = expit(logits.astype(np.float64) / temperature).astype(np.float32)
    return made


def write_label_sets(
    student: Path, logits: np.ndarray, shares: np.ndarray, labels: Sequence[str]
) -> "FittedTemperature":
    """Fits temperature and thresholds of a student of label sets on held-out rows, and writes them.

    The thresholds are those with the best F1 against the voted labels: of all labels together, and of a label by
    itself where `FEWEST_YES` held-out texts or more have it.

    Args:
        student: Folder.
        logits: (rows, labels).
        shares: (rows, labels) share of the votes that say that a label fits.
        labels: Their names.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_expit

    scores = logits.astype(np.float64)

    def cross_entropy(inverse: float) -> float:
        """Convex in the inverse temperature."""
        z = inverse * scores
        return float(-(shares * log_expit(z) + (1 - shares) * log_expit(-z)).mean())

    bounds = (1 / _HIGHEST, 1 / _LOWEST)
    temperature = float(1 / minimize_scalar(cross_entropy, bounds=bounds, method="bounded").x)
    found, voted = sigmoid(scores, temperature), shares > 0.5
    shared = best_threshold(found, voted) if voted.any() else 0.5
    thresholds = [
        best_threshold(found[:, i], voted[:, i]) if voted[:, i].sum() >= FEWEST_YES else shared
        for i in range(len(labels))
    ]
    write_json(
        student / FILE,
        {
            "temperature": temperature,
            "thresholds": dict(zip(labels, thresholds, strict=True)),
            "held_out_rows": len(shares),
        },
    )
    return FittedTemperature(temperature, float(((found >= np.array(thresholds)) == voted).all(1).mean()))


def best_threshold(probabilities: np.ndarray, voted: np.ndarray) -> float:
    """The threshold with the best F1 of `probabilities >= threshold` against `voted`; the one next to 0.5 of equals.

    Args:
        probabilities: Of any shape.
        voted: Bool, of the same shape.
    """
    tried = np.round(np.linspace(0.05, 0.95, 91), 3)
    named = probabilities.reshape(1, -1) >= tried[:, None]
    hits = (named & voted.reshape(1, -1)).sum(1)
    f1 = 2 * hits / np.maximum(1, named.sum(1) + voted.sum())
    best = np.flatnonzero(f1 >= f1.max() - 1e-12)
    return float(tried[best[np.abs(tried[best] - 0.5).argmin()]])


def read_thresholds(student: Path, labels: Sequence[str]) -> list[float]:
    """The threshold of each label; 0.5 where none was fitted.

    Raises:
        ModelError: the file is there and has no usable threshold of a label.
    """
    path = student / FILE
    if not path.exists():
        return [0.5] * len(labels)
    try:
        held = json_value(path.read_text(encoding="utf-8"))["thresholds"]
        thresholds = [float(held[label]) for label in labels]
        if not all(0 < each < 1 for each in thresholds):
            raise ValueError(thresholds)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} says no thresholds", mend="remove it, or train anew with xpoll train") from error
    return thresholds


class FittedTemperature(NamedTuple):
    """The fitted temperature, and the share of the rows that it was fitted on whose label the student gives."""

    temperature: float
    accuracy: float | None


def write(student: Path, logits: np.ndarray, targets: np.ndarray) -> FittedTemperature:
    """Fits the temperature on held-out rows and writes it to calibration.json.

    Args:
        student: Folder.
        logits: (rows, labels).
        targets: (rows, labels) distributions.
    """
    temperature = fitted_temperature(logits.astype(np.float64), targets)
    write_json(student / FILE, {"temperature": temperature, "held_out_rows": len(targets)})
    return FittedTemperature(temperature, float((logits.argmax(1) == targets.argmax(1)).mean()))


def read_temperature(student: Path) -> float:
    """The temperature of a student; 1 where none was fitted.

    Raises:
        ModelError: the file is there and says no usable temperature.
    """
    path = student / FILE
    if not path.exists():
        return 1.0
    try:
        temperature = float(json_value(path.read_text(encoding="utf-8"))["temperature"])
        if not _LOWEST / 2 < temperature < _HIGHEST * 2:
            raise ValueError(temperature)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} says no temperature", mend="remove it, or train anew with xpoll train") from error
    return temperature
