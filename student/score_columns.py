"""The columns of a table of scores: which there are, and how each is written; terminal, page, Markdown and card."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from xpoll.core.formatting import number, percent, share_with_interval
from xpoll.student.evaluation import Evaluation, Score


class ScoreColumn(NamedTuple):
    """A column: its title, and how a rater's score is written."""

    title: str
    shown: Callable[[Score], str]


def _measured(name: str, score: Score) -> str:
    value, ends = getattr(score, name), getattr(score, f"{name}_ci95")
    return percent(value) if value is None else share_with_interval(value, ends)


def _column(title: str, name: str) -> ScoreColumn:
    return ScoreColumn(f"{title} (95 %)", partial(_measured, name))


_CALIBRATION = ScoreColumn("calibration error", lambda score: percent(score.ece))
_STEPS = ScoreColumn("steps off", lambda score: number(score.mean_absolute_error))
_ONE_LABEL = [_column("accuracy", "accuracy"), _column("macro F1", "f1_macro"), _CALIBRATION]
_SETS = [
    _column("micro F1", "f1_micro"),
    _column("macro F1", "f1_macro"),
    _column("whole set right", "accuracy"),
    _CALIBRATION,
]
_SPANS = [
    _column("span F1", "f1_micro"),
    _column("overlap F1", "f1_overlap"),
    _column("token macro F1", "f1_token_macro"),
    _column("macro F1", "f1_macro"),
    _column("all spans right", "accuracy"),
]


def score_columns(evaluation: Evaluation) -> list[ScoreColumn]:
    """Those of a run's scores; the first is the measure of its verdict."""
    if evaluation.measure == "accuracy":
        graded = evaluation.teacher is not None and evaluation.teacher.mean_absolute_error is not None
        return [*_ONE_LABEL, _STEPS] if graded else _ONE_LABEL
    return _SPANS if evaluation.teacher and evaluation.teacher.f1_overlap is not None else _SETS
