"""Texts that INT8 may have labelled otherwise than fp32, so that fp32 decides them.

INT8 misses logits by a little, and a text whose two best labels lie closer together than that may get another label.
The export measures by how much INT8 misses; where the best label leads by less, fp32 decides.
"""

from pathlib import Path

import numpy as np

from xpoll.core.errors import ModelError
from xpoll.core.files import json_value
from xpoll.student.intel.export import CLOSE_CALL, FOLDER


def close_lead(student: Path, form: str) -> float:
    """The lead, in logits, below which a label of this form of the student is not sure to be that of fp32.

    Raises:
        ModelError: the file that says so is not there or says no number.
    """
    path = student / FOLDER / form / CLOSE_CALL
    try:
        lead = float(json_value(path.read_text(encoding="utf-8"))["lead"])
    except FileNotFoundError as error:
        raise ModelError(f"{path} is not there", mend=f"xpoll export {student}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} cannot be read: {error}", mend=f"xpoll export {student}") from error
    return lead


def close_calls(logits: np.ndarray, lead: float) -> np.ndarray:
    """Numbers of the texts whose best label leads by less than `lead`.

    Args:
        logits: (texts, labels), at least two labels.
        lead: In logits.
    """
    second, best = np.sort(logits, axis=1)[:, -2:].T
    return np.flatnonzero(best - second < lead)
