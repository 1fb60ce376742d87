"""Scores the teacher and its student against the gold rows, and says whether they differ.

Reads the records of labels.parquet and a loaded student. Gold rows are never trained on. Nothing here
imports torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from xpoll.core import statistics
from xpoll.core.errors import InputError, ModelError
from xpoll.core.records import Consensus
from xpoll.student.learning_curve import Forecast
from xpoll.student.next_step import next_step

if TYPE_CHECKING:
    from xpoll.student.inference.model import StudentModel

SIGNIFICANT_P = 0.05


class _Rating(NamedTuple):
    """One rater's label for each gold row, None where it abstained, and its confidence if it states one."""

    labels: list[str | None]
    confidence: list[float] | None


def evaluate(
    consensus: Sequence[Consensus],
    labels: Sequence[str],
    student: StudentModel | None,
    *,
    other_seeds: Sequence[StudentModel] = (),
    wanted: float = 0.9,
    forecast: Forecast | None = None,
) -> dict[str, Any]:
    """Scores on the gold rows, as plain JSON types.

    An abstention counts as not right: it stays in the denominator of accuracy and recall, and has the
    last column of `confusion`. The calibration error `ece` is over the rows that were decided.

    Returns:
        gold_rows, labels; teacher (the votes as xpoll decides them), teacher_raw (the plain majority)
        and student, each None without gold rows, the last also without a student; student_seeds, the
        accuracy of each seed with mean and spread, None with one seed; comparison, the student's
        accuracy minus its teacher's with an interval for pairs and an exact McNemar test, and how often it
        gives its teacher's label; and next_step, what to do about it.

    Raises:
        InputError: a gold label is not one of `labels`.
        ModelError: the student's labels are not `labels`.
    """
    gold = [row for row in consensus if row.split == "gold" and row.gold_label is not None]
    scores: dict[str, Any] = {"gold_rows": len(gold), "labels": list(labels)}
    nothing = {"teacher": None, "teacher_raw": None, "student": None, "student_seeds": None, "comparison": None}
    nothing |= {"next_step": None}
    if not gold:
        return scores | nothing
    truth = _truth(gold, labels)
    teacher = _Rating([row.label for row in gold], [row.confidence for row in gold])
    raw = _Rating([row.raw_label for row in gold], None)
    scores |= nothing | {"teacher": _scores(teacher, truth, labels), "teacher_raw": _scores(raw, truth, labels)}
    if student is not None:
        predicted = _predict(student, gold, labels)
        scores["student"] = _scores(predicted, truth, labels)
        scores["comparison"] = _comparison(predicted, teacher, truth)
        if other_seeds:
            others = [_predict(other, gold, labels) for other in other_seeds]
            scores["student_seeds"] = _seeds([predicted, *others], truth)
        step = next_step(scores, wanted, forecast)
        scores["next_step"] = step._asdict() if step else None
    return scores


def _seeds(students: Sequence[_Rating], truth: Sequence[str]) -> dict[str, Any]:
    """The accuracy of each seed's student, their mean and their sample standard deviation."""
    each = [statistics.accuracy(answers.labels, truth).value for answers in students]
    mean, spread = statistics.mean_and_spread(each)
    return {"accuracy": each, "accuracy_mean": mean, "accuracy_sd": spread}


def _truth(gold: Sequence[Consensus], labels: Sequence[str]) -> list[str]:
    truth = [row.gold_label for row in gold if row.gold_label is not None]
    unknown = next((label for label in truth if label not in labels), None)
    if unknown is not None:
        raise InputError(
            f"gold label {unknown!r} is not one of {list(labels)}", mend="correct the gold file or task.labels"
        )
    return truth


def _predict(student: StudentModel, gold: Sequence[Consensus], labels: Sequence[str]) -> _Rating:
    if set(student.labels) != set(labels):
        raise ModelError(
            f"the student tells {student.labels} apart, the task is {list(labels)}",
            mend="train it anew with xpoll train",
        )
    probabilities = student.probabilities([row.text for row in gold])
    best = probabilities.argmax(1)
    return _Rating([student.labels[i] for i in best], [float(share) for share in probabilities.max(1)])


def _scores(answers: _Rating, truth: Sequence[str], labels: Sequence[str]) -> dict[str, Any]:
    accuracy = statistics.accuracy(answers.labels, truth)
    f1_macro = statistics.f1_macro(answers.labels, truth, labels)
    abstained = sum(label is None for label in answers.labels)
    return {
        "accuracy": accuracy.value,
        "accuracy_ci95": accuracy.as_list(),
        "f1_macro": f1_macro.value,
        "f1_macro_ci95": f1_macro.as_list(),
        "per_class": statistics.per_label(answers.labels, truth, labels),
        "ece": _calibration_error(answers, truth),
        "confusion": statistics.confusion(answers.labels, truth, labels),
        "abstained": abstained,
        "abstention_rate": abstained / len(truth),
    }


def _calibration_error(answers: _Rating, truth: Sequence[str]) -> float | None:
    if answers.confidence is None:
        return None
    rows = zip(answers.labels, answers.confidence, truth, strict=True)
    decided = [(confidence, label == real) for label, confidence, real in rows if label is not None]
    if not decided:
        return None
    return statistics.expected_calibration_error([c for c, _ in decided], [right for _, right in decided])


def _comparison(student: _Rating, teacher: _Rating, truth: Sequence[str]) -> dict[str, Any]:
    student_right = [label == real for label, real in zip(student.labels, truth, strict=True)]
    teacher_right = [label == real for label, real in zip(teacher.labels, truth, strict=True)]
    n = len(truth)
    ours, theirs = sum(student_right) / n, sum(teacher_right) / n
    difference = statistics.paired_difference(student_right, teacher_right)
    p_value = statistics.mcnemar_p(student_right, teacher_right)
    return {
        "difference": difference.value,
        "difference_ci95": difference.as_list(),
        "p_value": p_value,
        "within_noise": p_value >= SIGNIFICANT_P,
        "sentence": _sentence(ours, theirs, n, p_value),
        **_against_votes(student, teacher, truth),
    }


def _against_votes(student: _Rating, teacher: _Rating, truth: Sequence[str]) -> dict[str, Any]:
    """How often the student gives its teacher's label, where that has one, and who is right where it does not."""
    rows = zip(student.labels, teacher.labels, truth, strict=True)
    decided = [(mine, voted, real) for mine, voted, real in rows if voted is not None]
    if not decided:
        return {"agreement": None, "agreement_ci95": None, "apart": None, "votes_sentence": None}
    found = statistics.accuracy([mine for mine, _, _ in decided], [voted for _, voted, _ in decided])
    apart = [(mine == real, voted == real) for mine, voted, real in decided if mine != voted]
    right = {"student": sum(mine for mine, _ in apart), "teacher": sum(voted for _, voted in apart)}
    right["neither"] = len(apart) - sum(right.values())
    rows_with_one = "the one row that has one" if len(decided) == 1 else f"the {len(decided)} rows that have one"
    sentence = f"It gives the voted label on {found.value:.1%} ({found.low:.1%} to {found.high:.1%}) of {rows_with_one}"
    if apart:
        sentence += f"; on the other {len(apart)} the student is right {_times(right['student'])}, "
        sentence += f"its teacher {_times(right['teacher'])}, neither {_times(right['neither'])}"
    return {
        "agreement": found.value,
        "agreement_ci95": found.as_list(),
        "apart": right,
        "votes_sentence": f"{sentence}.".replace("%", " %"),
    }


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _sentence(student: float, teacher: float, num_rows: int, p_value: float) -> str:
    """E.g. "The student is 2.5 points below its teacher (71.7 % against 74.2 %) on 120 gold rows; p = 0.61, ..."."""
    points = abs(student - teacher) * 100
    if student == teacher:
        standing = f"is level with its teacher ({student:.1%} both)"
    else:
        side = "below" if student < teacher else "above"
        standing = f"is {points:.1f} points {side} its teacher ({student:.1%} against {teacher:.1%})"
    rows = "1 gold row" if num_rows == 1 else f"{num_rows} gold rows"
    chance = "p < 0.001" if p_value < 0.001 else f"p = {p_value:.2f}"
    verdict = "within noise" if p_value >= SIGNIFICANT_P else "more than noise"
    return f"The student {standing} on {rows}; {chance}, {verdict}.".replace("%", " %")
