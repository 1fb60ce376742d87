"""One label per text: a softmax over the labels, trained on the distribution of the votes."""

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xpoll.core.records import Consensus
from xpoll.student import calibration
from xpoll.student.calibration import FittedTemperature
from xpoll.student.dataset import label_counts, targets, training_rows
from xpoll.student.evaluate import evaluate
from xpoll.student.evaluation import Evaluation
from xpoll.student.heads.form import ONE_LABEL
from xpoll.student.heads.head import Head


def _targets(rows: Sequence[Any], labels: Sequence[str], *, soft: bool) -> np.ndarray:
    return np.array(targets(rows, labels, soft=soft))


def _objective() -> Any:
    from xpoll.student.training.objectives import DistributionObjective

    return DistributionObjective


def _calibrated(encoder: Any, texts: Sequence[str], votes: np.ndarray, folder: Path) -> FittedTemperature:
    from xpoll.student.inference.logits import logits

    return calibration.write(folder, logits(encoder, texts), votes)


def _load(folder: Path, **how: Any) -> Any:
    from xpoll.student.inference.model import StudentModel

    return StudentModel(folder, **how)


def _evaluate(rows: Sequence[Any], labels: Sequence[str], student: Any, **how: Any) -> Evaluation:
    return evaluate(rows, labels, student, **how)


def _label(row: Any) -> Hashable:
    found: Hashable = row.label
    return found


LABEL = Head(
    "label",
    Consensus,
    ONE_LABEL,
    training_rows,
    _targets,
    label_counts,
    _objective,
    _calibrated,
    _load,
    _evaluate,
    stratum=_label,
    has_distribution=True,
)
