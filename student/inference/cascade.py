"""A cascade: the student answers where it is sure enough, the panel answers the rest.

How sure is enough is read off the gold rows, which neither was trained on. Nothing here imports torch.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from xpoll.core import statistics
from xpoll.core.records import Consensus
from xpoll.student.inference.outputs import ResultRow

FEWEST = 20
"""A threshold must have this many gold rows above it."""


class Threshold(NamedTuple):
    """From which confidence on the student answers, and what that gives on the gold rows.

    `threshold` is above 1 where no confidence is enough, so that the panel answers everything. Accuracies
    are 0 to 1; `sure_low` is the lower end of the 95 % interval of `sure_accuracy`.
    """

    threshold: float
    gold_rows: int
    panel_share: float
    sure_accuracy: float | None
    sure_low: float | None
    student_accuracy: float
    teacher_accuracy: float
    cascade_accuracy: float


def chosen_threshold(
    student: Sequence[str],
    confidence: Sequence[float],
    teacher: Sequence[str | None],
    gold: Sequence[str],
    *,
    target: float,
) -> Threshold:
    """The lowest confidence above which the student is shown to reach `target`.

    Shown means: the lower end of the 95 % interval of its accuracy there is at least the target.

    Args:
        student: Its label of each gold row.
        confidence: How sure it is of it.
        teacher: The panel's label, None where it abstained.
        gold: The known label.
        target: Accuracy, 0 to 1.
    """
    order = np.argsort(-np.asarray(confidence), kind="stable")
    right = np.array([mine == real for mine, real in zip(student, gold, strict=True)])
    sorted_confidence = np.asarray(confidence)[order]
    found = (2.0, 0)
    for count in range(FEWEST, len(order) + 1):
        if count < len(order) and sorted_confidence[count] == sorted_confidence[count - 1]:
            continue  # rows of one confidence are all above the threshold or none is
        if _share_right(right[order[:count]]).low >= target:
            found = (float(sorted_confidence[count - 1]), count)
    threshold, count = found
    sure = np.asarray(confidence) >= threshold
    teacher_right = np.array([theirs == real for theirs, real in zip(teacher, gold, strict=True)])
    above = _share_right(right[sure]) if count else None
    return Threshold(
        threshold,
        len(gold),
        float(1 - sure.mean()),
        above.value if above else None,
        above.low if above else None,
        float(right.mean()),
        float(teacher_right.mean()),
        float(np.where(sure, right, teacher_right).mean()),
    )


def _share_right(right: np.ndarray) -> statistics.Estimate:
    return statistics.accuracy(["right" if each else None for each in right], ["right"] * len(right))


class SecondOpinions:
    """The panel's answers to the rows that were put to it, in the order of the rows.

    Args:
        consensus: document_id is the number of the row.
    """

    def __init__(self, consensus: Iterator[Consensus]) -> None:
        self._rest = consensus
        self._next = next(consensus, None)

    def of(self, number: int) -> Consensus | None:
        """What the panel says of a row, None where it was not asked; rows are asked for in rising order."""
        if self._next is None or int(self._next.document_id) != number:
            return None
        found, self._next = self._next, next(self._rest, None)
        return found


def second_opinion(row: ResultRow, opinion: Consensus | None, labels: Sequence[str]) -> ResultRow:
    """A row with who answered it: the panel where it was asked, else the student, nobody with an error.

    Args:
        row: What the student says.
        opinion: What the panel says, if it was asked.
        labels: The student's, in the order of its probabilities.
    """
    if opinion is None:
        return row._replace(extra=(None if row.error else "student",))
    if opinion.label is None:
        nothing = [None] * len(labels)
        reason = f"the panel abstained: {opinion.abstained}"
        return ResultRow(row.values, None, None, nothing, reason, extra=("panel",))
    shares = list(opinion.distribution)
    return ResultRow(row.values, opinion.label, opinion.confidence, shares, None, extra=("panel",))
