"""The sentences about an evaluation, made from its numbers; terminal, page, Markdown and card show the same ones."""

from xpoll.core.formatting import counted, noise, number, p_value, percent, points, share_with_interval
from xpoll.student.drift import Drift
from xpoll.student.evaluation import Evaluation, Measure, SeedScores, TeacherComparison, Verdict, verdict_in

MEASURES: dict[Measure, str] = {"accuracy": "", "f1_micro": " micro F1"}
"""What stands behind a figure of the verdict, where it is no accuracy."""

MISSING = {
    "not evaluated": "Nothing says how often a label is right: the run has no scores on gold rows (xpoll evaluate).",
    "no gold rows": "Nothing says how often a label is right: "
    "there are no texts with known labels (documents.gold_path).",
    "no student": "No student is scored.",
}
"""Why nothing was measured, by the verdict's reason."""


def verdict_sentence(evaluation: Evaluation | None) -> str:
    """Why the verdict is as it is, in one to three sentences with the figures that decide it."""
    verdict = verdict_in(evaluation)
    if evaluation is None or evaluation.student is None or evaluation.teacher is None:
        return MISSING[verdict.reasons[0]]
    student, rows = evaluation.student, counted(evaluation.gold_rows, "gold row")
    measure, unit = evaluation.measure, MEASURES[evaluation.measure]
    gets = f"The student gets {share_with_interval(*student.of(measure))}{unit} on {rows}"
    goal = percent(verdict.wanted_accuracy, digits=0)
    theirs = percent(evaluation.teacher.of(measure)[0])
    match verdict.reasons[0]:
        case "interval too wide":
            return f"{gets}: too few to say whether that is the {goal} wanted (student.wanted_accuracy)."
        case "student not above the most frequent label":
            return f"{gets}: {_not_better(evaluation)}"
        case "wanted accuracy met":
            return f"{gets}, {goal} is wanted (student.wanted_accuracy).{_standing(verdict)}"
        case "teacher below wanted accuracy":
            return (
                f"{gets}, {goal} is wanted, and its teacher gets {theirs}: more votes of this teacher teach its "
                "errors; a larger model, better prompts or another vote.method come first."
            )
        case "learning curve flat":
            return (
                f"{gets}, {goal} is wanted, and the learning curve is flat: twice the texts would bring "
                f"{points(verdict.forecast_gain)}. A better encoder or better votes come first."
            )
        case _:
            gain = verdict.forecast_gain
            more = "" if gain is None else f" Twice the texts would bring about {points(gain)}."
            return f"{gets}, {goal} is wanted; its teacher, at {theirs}, is good enough.{more}"


def _not_better(evaluation: Evaluation) -> str:
    assert evaluation.most_frequent is not None and evaluation.teacher is not None
    label, share = evaluation.most_frequent.label, percent(evaluation.most_frequent.share)
    if evaluation.measure == "accuracy":
        said = f"it is not shown to do better than always answering '{label}', which is right on {share}."
    elif label:
        said = f"it is not shown to do better than giving every text the labels '{label}', which has {share} micro F1."
    else:
        said = "it is not shown to find any span."
    theirs = percent(evaluation.teacher.of(evaluation.measure)[0])
    if "teacher not above the most frequent label" in evaluation.verdict.reasons:
        return f"{said} Neither is its teacher, at {theirs}: fix the teacher first."
    if "teacher below wanted accuracy" in evaluation.verdict.reasons:
        wanted = percent(evaluation.verdict.wanted_accuracy, digits=0)
        return f"{said} Its teacher is, at {theirs}, but {wanted} is wanted: fix the teacher first."
    return f"{said} Its teacher is, at {theirs}: more voted texts of the rarer labels would teach the student more."


def _standing(verdict: Verdict) -> str:
    if "student below its teacher" in verdict.reasons:
        return " Its teacher is right more often, by more than noise: where a text matters much, ask the teacher."
    return ""


def comparison_sentence(evaluation: Evaluation) -> str | None:
    """How far the student is from its teacher; None where the two are not compared.

    E.g. "The student is 2.5 points below its teacher (71.7 % against 74.2 %) on 120 gold rows; p = 0.61, within noise."
    """
    comparison, student, teacher = evaluation.comparison, evaluation.student, evaluation.teacher
    if comparison is None or student is None or teacher is None:
        return None
    unit = MEASURES[evaluation.measure]
    (ours, _), (theirs, _) = student.of(evaluation.measure), teacher.of(evaluation.measure)
    if ours == theirs:
        standing = f"is level with its teacher ({percent(ours)}{unit} both)"
    else:
        side = "below" if comparison.difference < 0 else "above"
        both = f"{percent(ours)} against {percent(theirs)}{unit}"
        standing = f"is {points(abs(comparison.difference))} {side} its teacher ({both})"
    rows = counted(evaluation.gold_rows, "gold row")
    return f"The student {standing} on {rows}; {p_value(comparison.p_value)}, {noise(comparison.within_noise)}."


def votes_sentence(comparison: TeacherComparison | None, measure: Measure = "accuracy") -> str | None:
    """How often the student gives the voted label, and who is right where it does not; None without voted rows.

    Where a text has several labels or spans, all of them together are one answer.
    """
    if comparison is None or comparison.agreement is None:
        return None
    voted = comparison.voted_rows
    rows = "the one row that has one" if voted == 1 else f"the {voted} rows that have one"
    share = share_with_interval(comparison.agreement, comparison.agreement_ci95)
    given = "the voted label" if measure == "accuracy" else "just what was voted"
    said = f"It gives {given} on {share} of {rows}"
    if comparison.apart and comparison.apart.rows:
        apart = comparison.apart
        said += f"; on the other {apart.rows} the student is right {_times(apart.student)}, "
        said += f"its teacher {_times(apart.teacher)}, neither {_times(apart.neither)}"
    return f"{said}."


def seeds_sentence(seeds: SeedScores, measure: Measure = "accuracy") -> str:
    """Mean and spread over the seeds."""
    mean, spread = percent(seeds.accuracy_mean), points(seeds.accuracy_sd)
    return f"{len(seeds.accuracy)} seeds: mean{MEASURES[measure] or ' accuracy'} {mean}, standard deviation {spread}."


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def drift_line(drift: Drift) -> str:
    """What an alarm means."""
    where = "as a whole" if drift.first_row is None else f"from row {number(drift.first_row)} on"
    return (
        f"drift: the student's {drift.alarm} {where} are not those of the {number(drift.gold_rows)} gold rows "
        f"({p_value(drift.p_value)}): evaluation and cascade threshold do not cover this file -> add gold rows from it"
    )
