"""The charts of the report: which there are, and the numbers of the run that each one draws."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from xpoll.core import statistics
from xpoll.core.formatting import percent
from xpoll.core.records import Consensus
from xpoll.report.charts import bars as charts
from xpoll.report.charts.bars import ABSTAINED, MANY_LABELS, MOST_BARS, Bar, Bin, Chart, Table
from xpoll.report.charts.lines import Line, lines
from xpoll.report.charts.matrix import MOST_PAIRED, agreement
from xpoll.report.decisions import Decisions
from xpoll.report.panel import PanelFigures
from xpoll.student.evaluation import Evaluation, Score
from xpoll.student.folder import forecast_of, learning_curve_of
from xpoll.student.learning_curve import Forecast, Point

BINS = 10  # as many as the calibration error in evaluation.json is over
RATERS = {"teacher_raw": "raw majority", "teacher": "voted teacher", "student": "student"}
COLOURS = {"teacher_raw": "raw", "teacher": "teacher", "student": "student"}


def scores_of(evaluation: Evaluation | None) -> dict[str, Score]:
    """The scores there are, by rater, in the order in which they are shown."""
    found = {rater: getattr(evaluation, rater) for rater in RATERS} if evaluation else {}
    return {rater: score for rater, score in found.items() if score}


MOST_CONFUSED_PAIRS = 12


def confused_pairs(evaluation: Evaluation | None) -> list[tuple[str, str, str, str, str]]:
    """Gold label, other label, rater, rows and share of the gold label's rows, of the pairs confused most often."""
    found = []
    for rater, score in scores_of(evaluation).items():
        if rater in ("teacher", "student") and evaluation is not None and score.confusion:
            for gold, row in zip(evaluation.labels, score.confusion, strict=True):
                found += [
                    (count, gold, other, RATERS[rater], sum(row))
                    for other, count in zip(evaluation.labels, row, strict=False)
                    if count and other != gold
                ]
    found.sort(key=lambda pair: -pair[0])
    return [
        (gold, other, rater, str(count), percent(count / rows))
        for count, gold, other, rater, rows in found[:MOST_CONFUSED_PAIRS]
    ]


def charts_of(
    evaluation: Evaluation | None, labels: Sequence[str], decisions: Decisions, panel: PanelFigures, student: Path
) -> dict[str, Chart]:
    """The drawings by the name under which the templates look for them; one without numbers is left out.

    Args:
        evaluation: evaluation.json, if there is one.
        labels: The task's labels in their order.
        decisions: The labels of all documents.
        panel: The answers of the personas.
        student: The student's folder, for its learning curve; it need not exist.
    """
    drawn = {"label_mix": _label_mix(labels, decisions)}
    if panel.personas:
        drawn["persona_mix"] = _persona_mix(labels, decisions, panel)
        names = [persona.name for persona in panel.personas]
        if len(names) <= MOST_PAIRED:
            drawn["agreement"] = agreement("agreement", "Personas that name the same label", names, panel.agreement)
    scores = scores_of(evaluation)
    if evaluation and evaluation.most_frequent:
        reference = (f"always '{evaluation.most_frequent.label}'", evaluation.most_frequent.share)
        drawn["accuracy"] = charts.bars("accuracy", "Accuracy", _bars(scores, "accuracy"), reference=reference)
        drawn["f1_macro"] = charts.bars("f1", "Macro F1", _bars(scores, "f1_macro"))
    for rater in [rater for rater in ("teacher", "student") if rater in scores]:
        title = f"Confusion matrix of the {RATERS[rater]}"
        counts = scores[rater].confusion
        drawn[f"confusion_{rater}"] = charts.confusion(f"confusion-{rater}", title, counts, labels)
    if points := learning_curve_of(student):
        drawn["learning_curve"] = _learning_curve(points, forecast_of(student))
    if bins := _bins(decisions.gold):
        drawn["reliability"] = charts.reliability("reliability", "Reliability of the teacher's confidence", bins)
    return drawn


def _bars(scores: Mapping[str, Score], name: Literal["accuracy", "f1_macro"]) -> list[Bar]:
    bars = []
    for rater, score in scores.items():
        share: float = getattr(score, name)
        low, high = getattr(score, f"{name}_ci95")
        bars.append(Bar(RATERS[rater], share, low, high, COLOURS[rater]))
    return bars


def _learning_curve(points: Sequence[Point], forecast: Forecast | None) -> Chart:
    measured = [(float(point.rows), point.accuracy) for point in points]
    rows = [Line("measured", measured)]
    if forecast:
        rows.append(Line("forecast", [measured[-1], (float(forecast.rows), forecast.accuracy)]))
    names = {"x_name": "voted texts", "y_name": "held-out votes met"}
    return lines("learning-curve", "Learning curve of the student", rows, **names, shares=True, dashed="forecast")


MANY_PERSONAS = 12
"""Personas up to which each one is drawn and listed at once."""


def _persona_mix(labels: Sequence[str], decisions: Decisions, panel: PanelFigures) -> Chart:
    """Of many personas those that are farthest from the voted labels are drawn, of many labels the most frequent."""
    voted = np.bincount(decisions.final[decisions.final >= 0], minlength=len(labels))
    of_all = voted / max(1, voted.sum())
    rows = [(persona.name, np.array([share or 0.0 for share in persona.mix])) for persona in panel.personas]
    drawn, title = rows, "Label mix of each persona"
    if len(rows) > MANY_PERSONAS:
        drawn = sorted(rows, key=lambda row: -float(np.abs(row[1] - of_all).sum()))[:MANY_PERSONAS]
        title = f"Label mix of the {MANY_PERSONAS} personas (of {len(rows)}) that are farthest from the voted one"
    named, shown = list(labels), [*drawn, ("voted labels", of_all)]
    if len(labels) > MANY_LABELS:
        most = np.sort(np.argsort(-of_all, kind="stable")[: MANY_LABELS - 1])
        named = [*(labels[i] for i in most), f"{len(labels) - len(most)} others"]
        shown = [(name, np.append(mix[most], mix.sum() - mix[most].sum())) for name, mix in shown]
    chart = charts.stacked("persona-mix", title, [(name, mix.tolist()) for name, mix in shown], named)
    cells = [[name, *map(percent, mix.tolist())] for name, mix in (*rows, ("voted labels", of_all))]
    return chart._replace(table=Table(["", *labels], cells))


def _label_mix(labels: Sequence[str], decisions: Decisions) -> Chart:
    total = max(1, len(decisions.final))
    counts = {
        (word, index): int((codes == index).sum())
        for word, codes in (("raw", decisions.raw), ("voted", decisions.final))
        for index in range(-1, len(labels))
    }
    every = [*range(len(labels)), -1]
    drawn = every
    title = "Labels of all documents, raw majority and voted"
    if len(labels) > MOST_BARS:
        drawn = [*sorted(every[:-1], key=lambda i: (-counts["voted", i], i))[:MOST_BARS], -1]
        title += f" (the {MOST_BARS} most frequent of {len(labels)})"
    rows = {
        index: [
            Bar(
                f"{labels[index] if index >= 0 else ABSTAINED}, {word}",
                counts[word, index] / total,
                colour=colour,
                note=f"{counts[word, index]:,}",
            )
            for word, colour in (("raw", "raw"), ("voted", "teacher"))
        ]
        for index in every
    }
    legend = [("raw", "raw majority"), ("teacher", "voted label")]
    chart = charts.bars("label-mix", title, [bar for i in drawn for bar in rows[i]], legend=legend)
    return chart._replace(table=charts.bar_table([bar for i in every for bar in rows[i]]))


def _bins(gold: Sequence[Consensus]) -> list[Bin]:
    """The decided gold rows by the voted label's confidence, in equally wide bins; empty bins are left out."""
    by_bin: dict[int, list[Consensus]] = {}
    for row in gold:
        if row.label is not None:
            by_bin.setdefault(min(BINS - 1, int(row.confidence * BINS)), []).append(row)
    return [
        Bin(
            sum(row.confidence for row in rows) / len(rows),
            statistics.accuracy([row.label for row in rows], [str(row.gold_label) for row in rows]),
            len(rows),
        )
        for _, rows in sorted(by_bin.items())
    ]
