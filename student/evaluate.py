"""Scores the teacher and its student against the gold rows, and gives the verdict.

Reads the records of labels.parquet and a loaded student. Gold rows are never trained on. Nothing here
imports torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from xpoll.core import statistics
from xpoll.core.errors import InputError, ModelError
from xpoll.core.records import Consensus
from xpoll.core.statistics import Estimate
from xpoll.student.evaluation import (
    SIGNIFICANT_P,
    Apart,
    Calibration,
    Evaluation,
    Interval,
    LabelScore,
    MostFrequent,
    Score,
    SeedScores,
    TeacherComparison,
    Verdict,
)
from xpoll.student.training_record import Forecast
from xpoll.student.verdict import decide

if TYPE_CHECKING:
    from xpoll.student.inference.model import StudentModel


class _Rating(NamedTuple):
    """One rater's label for each gold row, None where it abstained, and its confidence if it states one."""

    labels: list[str | None]
    confidence: list[float] | None

    def right(self, truth: Sequence[str]) -> list[bool]:
        """Whether each label is the gold label."""
        return [label == real for label, real in zip(self.labels, truth, strict=True)]


def evaluate(
    consensus: Sequence[Consensus],
    labels: Sequence[str],
    student: StudentModel | None,
    *,
    other_seeds: Sequence[StudentModel] = (),
    wanted: float = 0.9,
    forecast: Forecast | None = None,
) -> Evaluation:
    """The scores on the gold rows, the student against its teacher, and the verdict.

    Args:
        consensus: The rows of labels.parquet; those of the gold split with a gold label are scored.
        labels: The task's labels in their order.
        student: The trained student, if there is one.
        other_seeds: Students that differ from it only in the seed.
        wanted: Accuracy that the student must have, 0 to 1.
        forecast: What more voted texts would bring, if a learning curve was made.

    Raises:
        InputError: a gold label is not one of `labels`.
        ModelError: the student's labels are not `labels`.
    """
    gold = [row for row in consensus if row.split == "gold" and row.gold_label is not None]
    not_scored = sum(row.split == "gold" for row in consensus) - len(gold)
    if not gold:
        verdict = Verdict(word="not measured", reasons=("no gold rows",))
        return Evaluation(gold_rows=0, gold_rows_not_scored=not_scored, labels=tuple(labels), verdict=verdict)
    truth = _truth(gold, labels)
    teacher = _Rating([row.label for row in gold], [row.confidence for row in gold])
    raw = _Rating([row.raw_label for row in gold], None)
    scores = Evaluation(
        gold_rows=len(gold),
        gold_rows_not_scored=not_scored,
        labels=tuple(labels),
        most_frequent=_most_frequent(truth, labels),
        teacher=_score(teacher, truth, labels),
        teacher_raw=_score(raw, truth, labels),
        calibration=_calibration(teacher, raw, truth),
        verdict=Verdict(word="not measured", reasons=("no student",)),
    )
    if student is None:
        return scores
    predicted = _predict(student, gold, labels)
    others = [_predict(other, gold, labels) for other in other_seeds]
    found, comparison = _score(predicted, truth, labels), _comparison(predicted, teacher, truth)
    assert scores.teacher is not None and scores.most_frequent is not None
    verdict = decide(scores.teacher, found, comparison, scores.most_frequent, wanted=wanted, forecast=forecast)
    return scores.model_copy(
        update={
            "student": found,
            "student_seeds": _seeds([predicted, *others], truth) if others else None,
            "comparison": comparison,
            "verdict": verdict,
        }
    )


def _truth(gold: Sequence[Consensus], labels: Sequence[str]) -> list[str]:
    truth = [row.gold_label for row in gold if row.gold_label is not None]
    unknown = next((label for label in truth if label not in labels), None)
    if unknown is not None:
        raise InputError(
            f"gold label {unknown!r} is not one of {list(labels)}", mend="correct the gold file or task.labels"
        )
    return truth


def _most_frequent(truth: Sequence[str], labels: Sequence[str]) -> MostFrequent:
    counts = [truth.count(label) for label in labels]
    return MostFrequent(label=labels[counts.index(max(counts))], share=max(counts) / len(truth))


def _predict(student: StudentModel, gold: Sequence[Consensus], labels: Sequence[str]) -> _Rating:
    if set(student.labels) != set(labels):
        raise ModelError(
            f"the student tells {student.labels} apart, the task is {list(labels)}",
            mend="train it anew with xpoll train",
        )
    probabilities = student.probabilities([row.text for row in gold])
    best = probabilities.argmax(1)
    return _Rating([student.labels[i] for i in best], [float(share) for share in probabilities.max(1)])


def _score(answers: _Rating, truth: Sequence[str], labels: Sequence[str]) -> Score:
    accuracy = statistics.accuracy(answers.labels, truth)
    f1_macro = statistics.f1_macro(answers.labels, truth, labels)
    abstained = sum(label is None for label in answers.labels)
    per_label = statistics.per_label(answers.labels, truth, labels)
    return Score(
        accuracy=accuracy.value,
        accuracy_ci95=_ends(accuracy),
        f1_macro=f1_macro.value,
        f1_macro_ci95=_ends(f1_macro),
        per_class={label: LabelScore.model_validate(found) for label, found in per_label.items()},
        ece=_calibration_error(answers, truth),
        confusion=tuple(map(tuple, statistics.confusion(answers.labels, truth, labels))),
        abstained=abstained,
        abstention_rate=abstained / len(truth),
    )


def _ends(found: Estimate) -> Interval:
    return found.low, found.high


def _calibration_error(answers: _Rating, truth: Sequence[str]) -> float | None:
    if answers.confidence is None:
        return None
    rows = zip(answers.labels, answers.confidence, truth, strict=True)
    decided = [(confidence, label == real) for label, confidence, real in rows if label is not None]
    if not decided:
        return None
    return statistics.expected_calibration_error([c for c, _ in decided], [right for _, right in decided])


def _seeds(students: Sequence[_Rating], truth: Sequence[str]) -> SeedScores:
    each = [statistics.accuracy(answers.labels, truth).value for answers in students]
    mean, spread = statistics.mean_and_spread(each)
    return SeedScores(accuracy=tuple(each), accuracy_mean=mean, accuracy_sd=spread)


def _calibration(teacher: _Rating, raw: _Rating, truth: Sequence[str]) -> Calibration:
    voted, plain = teacher.right(truth), raw.right(truth)
    p_value = statistics.mcnemar_p(voted, plain)
    difference = (sum(voted) - sum(plain)) / len(truth)
    return Calibration(difference=difference, p_value=p_value, within_noise=p_value >= SIGNIFICANT_P)


def _comparison(student: _Rating, teacher: _Rating, truth: Sequence[str]) -> TeacherComparison:
    ours, theirs = student.right(truth), teacher.right(truth)
    difference = statistics.paired_difference(ours, theirs)
    p_value = statistics.mcnemar_p(ours, theirs)
    rows = zip(student.labels, teacher.labels, truth, strict=True)
    voted = [(mine, label, real) for mine, label, real in rows if label is not None]
    agreement = statistics.accuracy([mine for mine, _, _ in voted], [str(v) for _, v, _ in voted]) if voted else None
    return TeacherComparison(
        difference=difference.value,
        difference_ci95=_ends(difference),
        p_value=p_value,
        within_noise=p_value >= SIGNIFICANT_P,
        voted_rows=len(voted),
        agreement=agreement.value if agreement else None,
        agreement_ci95=_ends(agreement) if agreement else None,
        apart=_apart(voted) if voted else None,
    )


def _apart(voted: Sequence[tuple[str | None, str | None, str]]) -> Apart:
    """Of the rows on which student and vote differ, who is right."""
    rows = [(mine == real, label == real) for mine, label, real in voted if mine != label]
    student, teacher = sum(mine for mine, _ in rows), sum(label for _, label in rows)
    return Apart(student=student, teacher=teacher, neither=len(rows) - student - teacher)
