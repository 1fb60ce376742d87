"""What is known of a student's head: everything that differs between students of different kinds of task."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from xpoll.student.calibration import FittedTemperature
from xpoll.student.dataset import TrainingRows
from xpoll.student.evaluation import Evaluation
from xpoll.student.heads.form import HeadForm
from xpoll.student.training_record import Forecast

if TYPE_CHECKING:
    from xpoll.student.training.objectives import Objective


class Scored(Protocol):
    """Scores a teacher and its student on the gold rows."""

    def __call__(
        self,
        rows: Sequence[Any],
        labels: Sequence[str],
        student: Any,
        *,
        other_seeds: Sequence[Any] = (),
        wanted: float = 0.9,
        forecast: Forecast | None = None,
    ) -> Evaluation:
        """The arguments are those of `student.evaluate.evaluate`, with records and students of the head."""


class Targets(Protocol):
    """What training aims at."""

    def __call__(self, rows: Sequence[Any], labels: Sequence[str], *, soft: bool) -> np.ndarray:
        """(rows, ...): one target per row, from the shares of the votes or from what was decided."""


def no_stratum(_: Any) -> Hashable:
    """Held-out rows are drawn from all rows alike."""
    return None


@dataclass(frozen=True, slots=True)
class Head:
    """Everything that training, scoring and labelling ask of a kind of head.

    Attributes:
        name: As `TaskKind.head` has it.
        record: The rows of labels.parquet.
        form: Which of Transformers' heads the encoder gets.
        training_rows: The rows to train on, and why others are left out.
        targets: What training aims at, of these rows.
        label_counts: How many of the rows name each label.
        objective: The class of the loss and of the features; imports torch.
        calibrated: Fits on held-out texts how sure the student may sound, and writes it into its folder.
        load: A student folder as what labels texts; further arguments are `runtime` and `device`.
        evaluate: The scores on gold rows, and the verdict.
        stratum: What held-out rows are drawn from alike.
        probe: What its last layer begins as a logistic regression of, whatever the recipe: each label by itself, or the
            tags of tokens. Of dozens of labels each is rare, most tokens are in no span, and a head of random weights
            learns first that nothing fits. None where the recipe decides.
        has_distribution: Whether a text gets a distribution over the labels, as recipes, learning curves, exports,
            cascades and drift alarms need.
    """

    name: str
    record: type[Any]
    form: HeadForm
    training_rows: Callable[[Sequence[Any], Sequence[str]], TrainingRows]
    targets: Targets
    label_counts: Callable[[Sequence[Any], Sequence[str]], dict[str, int]]
    objective: "Callable[[], type[Objective]]"
    calibrated: Callable[[Any, Sequence[str], np.ndarray, Path], FittedTemperature]
    load: Callable[..., Any]
    evaluate: Scored
    stratum: Callable[[Any], Hashable] = no_stratum
    probe: Literal["yes or no", "tokens"] | None = None
    has_distribution: bool = False
