"""Scores of teacher and student where a text has several labels or spans: by F1, over labels or spans of all texts."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from xpoll.core import statistics
from xpoll.core.errors import InputError, ModelError
from xpoll.core.f1 import F1Counts, macro_f1, micro_f1, paired_micro_f1, scores_by_label
from xpoll.core.statistics import Estimate
from xpoll.student.evaluation import (
    SIGNIFICANT_P,
    Apart,
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


class F1Rating(NamedTuple):
    """What one rater says of the gold rows.

    Attributes:
        answers: Of each row, something that is equal for equal answers; None where it abstains.
        counts: What of it is right, label by label.
        ece: Calibration error, where it states how sure it is.
        overlap: Spans that share a character with a right one; None of labels.
        tokens: Tokens by label; None of labels.
    """

    answers: Sequence[object]
    counts: F1Counts
    ece: float | None = None
    overlap: F1Counts | None = None
    tokens: F1Counts | None = None


def nothing_scored(rows: int, labels: Sequence[str]) -> Evaluation:
    """Of a run without gold rows that could be scored."""
    verdict = Verdict(word="not measured", reasons=("no gold rows",))
    return Evaluation(gold_rows=0, gold_rows_not_scored=rows, labels=tuple(labels), measure="f1_micro", verdict=verdict)


def f1_evaluation(
    labels: Sequence[str],
    truth: Sequence[object],
    teacher: F1Rating,
    student: F1Rating | None,
    *,
    constant: MostFrequent,
    not_scored: int,
    other_seeds: Sequence[F1Rating] = (),
    wanted: float,
    forecast: Forecast | None = None,
) -> Evaluation:
    """The scores on at least one gold row, the student against its teacher, and the verdict by micro F1.

    Args:
        labels: The task's labels in their order.
        truth: Of each row, what a right answer is equal to.
        teacher: The votes' answers.
        student: The student's, if there is one.
        constant: The best answer that is the same for all rows.
        not_scored: Gold rows that cannot be scored.
        other_seeds: Answers of students that differ from it only in the seed.
        wanted: Micro F1 that the student must have, 0 to 1 (student.wanted_accuracy).
        forecast: What more voted texts would bring, if a learning curve was made.
    """
    found = Evaluation(
        gold_rows=len(truth),
        gold_rows_not_scored=not_scored,
        labels=tuple(labels),
        measure="f1_micro",
        most_frequent=constant,
        teacher=_score(teacher, truth, labels),
        verdict=Verdict(word="not measured", reasons=("no student",)),
    )
    if student is None:
        return found
    score, comparison = _score(student, truth, labels), _comparison(student, teacher, truth)
    assert found.teacher is not None
    verdict = decide(found.teacher, score, comparison, constant, wanted=wanted, forecast=forecast, measure="f1_micro")
    return found.model_copy(
        update={
            "student": score,
            "student_seeds": _seeds([student, *other_seeds]) if other_seeds else None,
            "comparison": comparison,
            "verdict": verdict,
        }
    )


def check_same_labels(found: Sequence[str], labels: Sequence[str]) -> None:
    """Refuses a student of other labels than the task's, or in another order.

    Raises:
        ModelError: its labels are not `labels`.
    """
    if list(found) != list(labels):
        raise ModelError(
            f"the student tells {list(found)} apart, the task is {list(labels)}", mend="train it anew with xpoll train"
        )


def check_gold(named: Sequence[str], labels: Sequence[str]) -> None:
    """Refuses a gold label that is none of the task's.

    Raises:
        InputError: there is one.
    """
    if unknown := [label for label in named if label not in labels]:
        raise InputError(
            f"gold label {unknown[0]!r} is not one of {list(labels)}", mend="correct the gold file or task.labels"
        )


def _score(rating: F1Rating, truth: Sequence[object], labels: Sequence[str]) -> Score:
    whole = statistics.share(_right(rating, truth))
    micro, macro = micro_f1(rating.counts), macro_f1(rating.counts)
    overlap = micro_f1(rating.overlap) if rating.overlap else None
    tokens = macro_f1(rating.tokens) if rating.tokens else None
    abstained = sum(answer is None for answer in rating.answers)
    by_label = scores_by_label(rating.counts, labels)
    return Score(
        accuracy=whole.value,
        accuracy_ci95=_ends(whole),
        f1_macro=macro.value,
        f1_macro_ci95=_ends(macro),
        per_class={label: LabelScore.model_validate(found) for label, found in by_label.items()},
        ece=rating.ece,
        confusion=(),
        abstained=abstained,
        abstention_rate=abstained / len(truth),
        f1_micro=micro.value,
        f1_micro_ci95=_ends(micro),
        f1_overlap=overlap.value if overlap else None,
        f1_overlap_ci95=_ends(overlap) if overlap else None,
        f1_token_macro=tokens.value if tokens else None,
        f1_token_macro_ci95=_ends(tokens) if tokens else None,
    )


def _right(rating: F1Rating, truth: Sequence[object]) -> list[bool]:
    return [answer is not None and answer == real for answer, real in zip(rating.answers, truth, strict=True)]


def _ends(found: Estimate) -> Interval:
    return found.low, found.high


def _comparison(student: F1Rating, teacher: F1Rating, truth: Sequence[object]) -> TeacherComparison:
    apart = paired_micro_f1(student.counts, teacher.counts)
    voted = [number for number, answer in enumerate(teacher.answers) if answer is not None]
    agreeing = [student.answers[number] == teacher.answers[number] for number in voted]
    agreement = statistics.share(agreeing) if voted else None
    ours, theirs = np.array(_right(student, truth)), np.array(_right(teacher, truth))
    differ = np.array(voted, int)[~np.array(agreeing, bool)]
    mine, voters = int(ours[differ].sum()), int(theirs[differ].sum())
    return TeacherComparison(
        difference=apart.difference.value,
        difference_ci95=_ends(apart.difference),
        p_value=apart.p_value,
        within_noise=apart.p_value >= SIGNIFICANT_P,
        voted_rows=len(voted),
        agreement=agreement.value if agreement else None,
        agreement_ci95=_ends(agreement) if agreement else None,
        apart=Apart(student=mine, teacher=voters, neither=len(differ) - mine - voters) if voted else None,
    )


def _seeds(students: Sequence[F1Rating]) -> SeedScores:
    each = [micro_f1(answers.counts).value for answers in students]
    mean, spread = statistics.mean_and_spread(each)
    return SeedScores(accuracy=tuple(each), accuracy_mean=mean, accuracy_sd=spread)
