"""How sure a student may sound: one temperature that its logits are divided by.

Fitted on the votes of held-out rows, saved in the student's folder and used whenever it predicts. It
changes no label.

Source: Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017.
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from xpoll.core.errors import ModelError
from xpoll.core.files import write_json

FILE = "calibration.json"
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
        temperature = float(json.loads(path.read_text(encoding="utf-8"))["temperature"])
        if not _LOWEST / 2 < temperature < _HIGHEST * 2:
            raise ValueError(temperature)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} says no temperature", mend="remove it, or train anew with xpoll train") from error
    return temperature
