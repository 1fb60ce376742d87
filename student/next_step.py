"""What to do with a student: ship it, collect more votes, or fix its teacher. Nothing here imports torch."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from xpoll.student.learning_curve import Forecast

Decision = Literal["ship", "collect more", "fix the teacher", "label more gold rows"]

WORTH = 0.005
"""A forecast gain of half a point is worth as many texts again."""
TOO_WIDE = 0.2
"""Width of the student's interval above which its accuracy says too little."""


class NextStep(NamedTuple):
    """The decision, and one sentence why."""

    decision: Decision
    why: str


def next_step(evaluation: Mapping[str, Any], wanted: float, forecast: Forecast | None) -> NextStep | None:
    """The decision on the scores of gold rows; None where there are none.

    Args:
        evaluation: teacher, student and comparison, as `evaluate` makes them.
        wanted: Accuracy that the student must be shown to have, 0 to 1.
        forecast: What more voted texts would bring, if a learning curve was made.
    """
    teacher, student, comparison = (evaluation.get(name) for name in ("teacher", "student", "comparison"))
    if not teacher or not student or not comparison:
        return None
    low, high = student["accuracy_ci95"]
    shown = f"{student['accuracy']:.1%} ({low:.1%} to {high:.1%})".replace("%", " %")
    goal = f"{wanted:.0%}".replace("%", " %")
    if student["accuracy"] >= wanted and high - low <= TOO_WIDE:
        return NextStep("ship", f"The student gets {shown} where {goal} is wanted (student.wanted_accuracy).")
    if high - low > TOO_WIDE:
        return NextStep(
            "label more gold rows", f"The student gets {shown}: too few gold rows to say whether that is {goal}."
        )
    if teacher["accuracy"] < wanted:
        theirs = f"{teacher['accuracy']:.1%}".replace("%", " %")
        return NextStep(
            "fix the teacher",
            f"The student gets {shown} where {goal} is wanted, and its teacher {theirs}: more votes of this teacher "
            "teach its errors; a larger model, better prompts or another vote.method come first.",
        )
    if forecast is not None and forecast.gain < WORTH:
        return NextStep(
            "fix the teacher",
            f"The student gets {shown} where {goal} is wanted, and the learning curve is flat: twice the texts would "
            f"bring {100 * forecast.gain:.1f} points. A better encoder or better votes come first.",
        )
    gain = "" if forecast is None else f" Twice the texts would bring about {100 * forecast.gain:.1f} points."
    return NextStep(
        "collect more", f"The student gets {shown} where {goal} is wanted; its teacher is good enough.{gain}"
    )
