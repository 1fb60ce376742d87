"""One step of a scale per text: as one label, and scored also by how many steps it is off."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from xpoll.student.evaluate import evaluate
from xpoll.student.evaluation import Evaluation, Score
from xpoll.student.heads.label import LABEL


def mean_absolute_error(score: Score) -> float | None:
    """Steps of the scale that the rows with a label are off on average, from the confusion; None without such rows."""
    off = rows = 0
    for real, counts in enumerate(score.confusion):
        for said, count in enumerate(counts[:-1]):  # abstentions are in the last place
            off += abs(real - said) * count
            rows += count
    return off / rows if rows else None


def evaluate_steps(rows: Sequence[Any], labels: Sequence[str], student: Any, **how: Any) -> Evaluation:
    """As `student.evaluate.evaluate`, with the steps that each rater is off."""
    found = evaluate(rows, labels, student, **how)
    raters = {name: getattr(found, name) for name in ("teacher", "teacher_raw", "student")}
    graded = {
        name: score.model_copy(update={"mean_absolute_error": mean_absolute_error(score)})
        for name, score in raters.items()
        if score
    }
    return found.model_copy(update=graded)


STEP = replace(LABEL, name="step", evaluate=evaluate_steps)
