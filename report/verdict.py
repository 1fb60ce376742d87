"""What the scores in evaluation.json allow to say of teacher and student."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from xpoll.core import statistics
from xpoll.core.records import Consensus

Use = Literal["unknown", "blind", "worse than its teacher", "for sorting only", "may be used"]
"""What a student may be used for."""

WEAK_BELOW = 0.8


class Verdict(NamedTuple):
    """What the scores say of teacher and student; the page puts it into words.

    `blind` means not shown to do better than always answering `frequent_label`, the label of most gold
    rows. `give_or_take` is half the width of the teacher's interval, in points.
    """

    weak: bool
    blind: bool
    wrong_of_100: int
    give_or_take: int
    frequent_label: str
    frequent_share: float
    calibration_p: float
    student: Use


def verdict(evaluation: Mapping[str, Any], gold: Sequence[Consensus]) -> Verdict | None:
    """What the scores allow to say, and no more; None without scores."""
    teacher = evaluation.get("teacher")
    if not teacher:
        return None
    label, share = most_frequent(evaluation["labels"], teacher["confusion"])
    low, high = teacher["accuracy_ci95"]
    return Verdict(
        weak=teacher["accuracy"] < WEAK_BELOW,
        blind=low <= share,
        wrong_of_100=round(100 * (1 - teacher["accuracy"])),
        give_or_take=round(50 * (high - low)),
        frequent_label=label,
        frequent_share=share,
        calibration_p=statistics.mcnemar_p(
            [row.label == row.gold_label for row in gold], [row.raw_label == row.gold_label for row in gold]
        ),
        student=_use_of(evaluation, share),
    )


def _use_of(evaluation: Mapping[str, Any], frequent_share: float) -> Use:
    student, comparison = evaluation.get("student"), evaluation.get("comparison")
    if not student or not comparison:
        return "unknown"
    if student["accuracy_ci95"][0] <= frequent_share:
        return "blind"
    if comparison["difference"] < 0 and not comparison["within_noise"]:
        return "worse than its teacher"
    return "for sorting only" if evaluation["teacher"]["accuracy"] < WEAK_BELOW else "may be used"


def most_frequent(labels: Sequence[str], confusion: Sequence[Sequence[int]]) -> tuple[str, float]:
    """The label of most gold rows, and its share of them: what always answering it scores."""
    rows = [sum(row) for row in confusion]
    return labels[rows.index(max(rows))], max(rows) / sum(rows)
