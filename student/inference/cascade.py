"""A cascade: the student answers where it is sure enough, the panel answers the rest.

How sure is enough is tested on the gold rows, which neither was trained on. Nothing here imports torch.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from xpoll.core.records import Consensus
from xpoll.student.inference.outputs import ResultRow

FEWEST = 20
"""A threshold must have this many gold rows above it."""

ALPHA = 0.025
"""How often a threshold may be declared above which the student misses the target."""

STEPS = 10
"""Thresholds stand at every tenth of the gold rows."""

FIRST_STEP = 3
"""The first threshold tried: above fewer rows a single wrong one decides, and the test ends there."""


class Threshold(NamedTuple):
    """From which confidence on the student answers, and what that gives on the gold rows.

    `threshold` is above 1 where no confidence is enough, so that the panel answers everything. Accuracies
    are 0 to 1; `sure_low` is what `sure_accuracy` is at least, with 97.5 % confidence.
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

    Thresholds are tested in a fixed order, from the most confident rows downwards, up to the first that is not shown.
    Shown means: with a lower accuracy than the target, so many right rows above it are rarer than `ALPHA` (exact
    binomial test). A student that misses the target is then declared to reach it at most that often: whatever
    number of thresholds is tested, an error is made at the first of them that is wrong, or not at all.

    Args:
        student: Its label of each gold row.
        confidence: How sure it is of it.
        teacher: The panel's label, None where it abstained.
        gold: The known label.
        target: Accuracy, 0 to 1.

    Source: fixed-sequence testing as in Angelopoulos, Bates, Candes, Jordan, Lei, "Learn then Test", arXiv 2110.01052,
    and for cascades Zeighami, Shankar, Parameswaran, "BARGAIN", arXiv 2509.02896.
    """
    right = np.array([mine == real for mine, real in zip(student, gold, strict=True)])
    threshold, low = _lowest_shown(np.asarray(confidence, float), right, target)
    sure = np.asarray(confidence) >= threshold
    teacher_right = np.array([theirs == real for theirs, real in zip(teacher, gold, strict=True)])
    return Threshold(
        threshold,
        len(gold),
        float(1 - sure.mean()),
        None if low is None else float(right[sure].mean()),
        low,
        float(right.mean()),
        float(teacher_right.mean()),
        float(np.where(sure, right, teacher_right).mean()),
    )


def _lowest_shown(confidence: np.ndarray, right: np.ndarray, target: float) -> tuple[float, float | None]:
    """The last threshold that is shown before one is not, and what the accuracy above it is at least."""
    found: tuple[float, float | None] = (2.0, None)
    for threshold in _thresholds(confidence, target):
        sure = confidence >= threshold
        low = smallest_share(int(right[sure].sum()), int(sure.sum()))
        if low < target:
            break
        found = (threshold, low)
    return found


def _thresholds(confidence: np.ndarray, target: float) -> list[float]:
    """What is tested, in order. The labels do not decide it, and rows of one confidence are all above or none is."""
    rows = np.sort(confidence)[::-1]
    enough = max(FEWEST, _rows_for_one_wrong(target, len(rows)), round(FIRST_STEP / STEPS * len(rows)))
    counts = [count for step in range(1, STEPS + 1) if (count := round(step / STEPS * len(rows))) >= enough]
    if not counts and len(rows) >= FEWEST:
        counts = [len(rows)]
    return list(dict.fromkeys(float(rows[count - 1]) for count in counts))


def _rows_for_one_wrong(target: float, most: int) -> int:
    """Rows of which one may be wrong and the target still be shown; `most` where so many are too few."""
    return next((rows for rows in range(2, most) if smallest_share(rows - 1, rows) >= target), most)


def smallest_share(hits: int, draws: int) -> float:
    """The lower Clopper-Pearson bound, in 0..1: under a smaller share so many hits are rarer than `ALPHA`."""
    from scipy.special import betaincinv

    return float(betaincinv(hits, draws - hits + 1, ALPHA)) if hits else 0.0


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
