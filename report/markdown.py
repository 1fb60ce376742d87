"""report.md: the figures of a run as Markdown, for repositories and pull requests.

Reads metrics.json, config.resolved.json, environment.json, and where they are there evaluation.json, panel.json and the
student's training.json. No text of a document is in it; names are escaped.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xpoll.core.files import read_object, write_text
from xpoll.core.formatting import counted, duration, number, percent, with_unit
from xpoll.core.run_folder import RunFolder
from xpoll.report.figures import RATERS, scores_of
from xpoll.report.metrics import EngineFigures, Metrics, read_metrics
from xpoll.report.panel import panel_size
from xpoll.report.wording import assumption_sentences, energy_reasons, estimate_sentence
from xpoll.student.evaluation import Evaluation, Score, read_evaluation, verdict_in
from xpoll.student.folder import forecast_of, learning_curve_of
from xpoll.student.score_columns import score_columns
from xpoll.student.wording import comparison_sentence, verdict_sentence, votes_sentence


def write_markdown(folder: RunFolder) -> Path:
    """Writes report.md beside report.html and returns where it is.

    Raises:
        RunFolderError: an input is missing or of another version.
    """
    config = read_object(folder.require(folder.config, step="run"), "task", "report")
    environment = read_object(folder.require(folder.environment, step="poll"), "commit")
    metrics, evaluation = read_metrics(folder), read_evaluation(folder)
    parts = [
        *_about(config, metrics.engine, documents=metrics.documents, personas=panel_size(folder, config)),
        "## Verdict",
        f"**{verdict_in(evaluation).word}**. {_safe(verdict_sentence(evaluation))}",
        *_quality(evaluation),
        *_learning_curve(folder.student),
        *_table("Speed", ["figure", "value"], _speed(metrics.engine)),
        *_energy(metrics),
        *_table("Failures", ["what", "number"], _failures(metrics)),
        *_table("Provenance", ["what", "value"], _provenance(environment)),
    ]
    path = folder.path / "report.md"
    write_text(path, "\n\n".join(parts) + "\n")
    return path


def _about(config: Mapping[str, Any], engine: EngineFigures, *, documents: int, personas: int) -> list[str]:
    return [
        f"# {_safe(config['job']['name'])}",
        f"{counted(documents, 'document')}, {counted(personas, 'persona')}, "
        f"{_safe(engine.model)} on {_safe(engine.device)}, student {_safe(config['student']['encoder'])}.",
    ]


def _quality(evaluation: Evaluation | None) -> list[str]:
    scores = scores_of(evaluation)
    if evaluation is None or not scores:
        return ["## Quality", "Not measured: the run has no scores on gold labels."]
    columns = score_columns(evaluation)
    rows = [[RATERS[rater], *(column.shown(score) for column in columns)] for rater, score in scores.items()]
    table = _table("Quality", ["rater", *(column.title for column in columns)], rows)
    said = comparison_sentence(evaluation), votes_sentence(evaluation.comparison, evaluation.measure)
    left_out = evaluation.gold_rows_not_scored
    scored = f"On {counted(evaluation.gold_rows, 'gold row')}" + (
        f"; {left_out} more are not scored" if left_out else ""
    )
    return [*table, f"{scored}.", *filter(None, said), *_each_label(evaluation, scores)]


def _each_label(evaluation: Evaluation, scores: Mapping[str, Score]) -> list[str]:
    """F1 of each label, of tasks in which a text has several; labels without a gold row are left out."""
    if evaluation.measure == "accuracy":
        return []
    first = next(iter(scores.values()))
    named = [label for label in evaluation.labels if first.per_class[label].support]
    rows = [
        [label, number(first.per_class[label].support)]
        + [percent(score.per_class[label].f1) for score in scores.values()]
        for label in named
    ]
    return [_rows(["label", "in gold", *(f"F1, {RATERS[rater]}" for rater in scores)], rows)]


def _learning_curve(student: Path) -> list[str]:
    rows = [[number(point.rows), percent(point.accuracy)] for point in learning_curve_of(student)]
    if not rows:
        return []
    if expected := forecast_of(student):
        rows.append([f"{number(expected.rows)} (forecast)", percent(expected.accuracy)])
    return _table("Learning curve", ["voted texts", "held-out votes met"], rows)


def _speed(engine: EngineFigures) -> list[list[str]]:
    latency = f"{with_unit(engine.latency_p50_s, 's')}, {with_unit(engine.latency_p95_s, 's')}"
    return [
        ["engines", number(engine.replicas)],
        ["start-up", duration(engine.startup_s)],
        ["polling", duration(engine.wall_s)],
        ["documents/s", number(engine.documents_per_s)],
        ["output tokens/s", number(engine.output_tokens_per_s)],
        ["prompt tokens from the cache", percent(engine.cached_share)],
        ["latency of an answer, p50 and p95", latency],
    ]


def _energy(metrics: Metrics) -> list[str]:
    energy, cost = metrics.energy, metrics.cost
    rows = [
        [stage, number(energy.wall_s[stage]), number(joules), number(cost.by_stage[stage].usd)]
        for stage, joules in energy.stages.items()
    ]
    figures = [
        ["energy", with_unit(energy.energy_j, "J")],
        ["source", energy.source if energy.source != "none" else f"none: {energy_reasons(energy)}"],
        ["energy per label", with_unit(energy.per_label_j, "J")],
        ["energy per correct label", with_unit(energy.per_correct_label_j, "J")],
        *([["estimate", estimate_sentence(energy.estimate)]] if energy.estimate else []),
        ["cost", with_unit(cost.usd, "USD")],
        ["CO2", with_unit(cost.co2_kg, "kg")],
        ["break-even volume", with_unit(cost.break_even_texts, "texts")],
    ]
    steps = _rows(["step", "wall time, s", "energy, J", "cost, USD"], rows) if rows else "No step was timed."
    assumed = "\n".join(f"- {_safe(sentence)}" for sentence in assumption_sentences(cost.assumptions))
    return [*_table("Energy and cost", ["figure", "value"], figures), steps, "Assumptions:", assumed]


def _failures(metrics: Metrics) -> list[list[str]]:
    errors = [[f"error: {kind}", number(count)] for kind, count in metrics.errors.items()]
    unparsable, abstained = number(metrics.votes.unparsable), number(metrics.labels.abstained)
    return [*errors, ["answers without a label", unparsable], ["abstentions", abstained]]


def _provenance(environment: Mapping[str, Any]) -> list[list[str]]:
    state = {True: " (with changes on top)", False: ""}.get(environment["dirty"], "")
    packages = ", ".join(f"{name} {version}" for name, version in environment["packages"].items())
    return [
        ["commit", f"{environment['commit'] or 'not known'}{state}"],
        ["processor", f"{environment['processor']}, {counted(environment['cores'], 'core')}"],
        ["packages", packages],
    ]


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"## {title}", _rows(header, rows)]


def _rows(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(_safe, line)) + " |" for line in lines)


def _safe(text: str) -> str:
    """Text on one line that Markdown shows as it is: HTML and marks of Markdown are escaped."""
    escaped = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;")
    for mark in "\\|`[]*_":
        escaped = escaped.replace(mark, f"\\{mark}")
    return escaped
