"""The verdict: may the student be used, and what to do next. One rule, applied by `xpoll evaluate` alone.

The word stands in evaluation.json; terminal, page, Markdown and model card read it there. Nothing here imports torch.
"""

from xpoll.student.evaluation import Measure, MostFrequent, Reason, Score, TeacherComparison, Verdict, Word
from xpoll.student.training_record import Forecast

WORTH = 0.005
"""A forecast gain of half a point is worth twice the texts."""
TOO_WIDE = 0.2
"""Width of the student's interval above which its accuracy says too little."""


def decide(
    teacher: Score,
    student: Score,
    comparison: TeacherComparison,
    most_frequent: MostFrequent,
    *,
    wanted: float,
    forecast: Forecast | None,
    measure: Measure = "accuracy",
) -> Verdict:
    """The verdict on a student that is scored.

    The order of the questions is the rule. A student whose accuracy is not known, or that is not shown to do better
    than always answering the most frequent label, is never shipped, whatever its accuracy.

    Args:
        teacher: The votes' scores on the gold rows.
        student: The student's.
        comparison: The two on the same rows.
        most_frequent: What always answering one label scores.
        wanted: Accuracy that the student must have, 0 to 1 (student.wanted_accuracy).
        forecast: What more voted texts would bring, if a learning curve was made.
        measure: What stands for accuracy in the rule.
    """
    (value, (low, high)), (theirs, _) = student.of(measure), teacher.of(measure)
    found: tuple[Word, Reason]
    if high - low > TOO_WIDE:
        found = "label more gold rows", "interval too wide"
    elif low <= most_frequent.share:
        found = "do not use", "student not above the most frequent label"
    elif value >= wanted:
        found = "ship", "wanted accuracy met"
    elif theirs < wanted:
        found = "fix the teacher", "teacher below wanted accuracy"
    elif forecast is not None and forecast.gain < WORTH:
        found = "fix the teacher", "learning curve flat"
    else:
        found = "collect more", "wanted accuracy missed"
    word, first = found
    others = _further(teacher, comparison, most_frequent, wanted=wanted, measure=measure)
    further = [reason for reason in others if reason != first]
    return Verdict(
        word=word,
        reasons=(first, *further),
        wanted_accuracy=wanted,
        forecast_gain=forecast.gain if forecast else None,
    )


def _further(
    teacher: Score, comparison: TeacherComparison, most_frequent: MostFrequent, *, wanted: float, measure: Measure
) -> list[Reason]:
    """What holds beside the reason that decided."""
    value, (low, _) = teacher.of(measure)
    stands: Reason = "student below its teacher" if comparison.difference < 0 else "student above its teacher"
    reasons: dict[Reason, bool] = {
        "teacher below wanted accuracy": value < wanted,
        "teacher not above the most frequent label": low <= most_frequent.share,
        stands: not comparison.within_noise,
    }
    return [reason for reason, holds in reasons.items() if holds]
