"""report.md: the figures of a run as Markdown, for repositories and pull requests.

Reads metrics.json, config.resolved.json, environment.json, and where there are any evaluation.json and the student's
training.json. No text of a document is in it; names are escaped.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xpoll.core.files import read_json, write_text
from xpoll.core.run_folder import RunFolder
from xpoll.report.charts.bars import percent
from xpoll.report.figures import RATERS
from xpoll.report.page import duration, number, with_unit
from xpoll.student.folder import forecast_of, learning_curve_of


def write_markdown(folder: RunFolder) -> Path:
    """Writes the page beside report.html and returns where it is.

    Raises:
        RunFolderError: an input is missing.
    """
    config = read_json(folder.require(folder.config, step="run"))
    metrics = read_json(folder.require(folder.metrics, step="report"))
    evaluation = read_json(folder.evaluation) if folder.evaluation.exists() else {}
    environment = read_json(folder.require(folder.environment, step="poll"))
    path = folder.path / "report.md"
    write_text(path, markdown(config, metrics, evaluation, environment, folder.student))
    return path


def markdown(
    config: Mapping[str, Any],
    metrics: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    environment: Mapping[str, Any],
    student: Path,
) -> str:
    """The page: quality, learning curve, speed, energy and cost, failures, provenance."""
    engine = metrics["engine"]
    about = [
        f"# {_safe(config['job']['name'])}",
        f"{number(metrics['documents'])} documents, {len(config['panel']['personas'])} personas, "
        f"{_safe(engine['model'])} on {_safe(engine['device'])}, student {_safe(config['student']['encoder'])}.",
    ]
    parts = [
        *about,
        *_quality(evaluation),
        *_learning_curve(student),
        *_table("Speed", ["figure", "value"], _speed(metrics)),
        *_energy(metrics),
        *_table("Failures", ["what", "number"], _failures(metrics)),
        *_table("Provenance", ["what", "value"], _provenance(environment)),
    ]
    return "\n\n".join(parts) + "\n"


def _quality(evaluation: Mapping[str, Any]) -> list[str]:
    scores = {rater: evaluation[rater] for rater in RATERS if evaluation.get(rater)}
    if not scores:
        return ["## Quality", "Not measured: the run has no scores on gold labels."]
    rows = [
        [RATERS[rater], *(_interval(score, name) for name in ("accuracy", "f1_macro")), percent(score["ece"])]
        for rater, score in scores.items()
    ]
    table = _table("Quality", ["rater", "accuracy (95 %)", "macro F1 (95 %)", "calibration error"], rows)
    comparison = evaluation.get("comparison") or {}
    said = [comparison[name] for name in ("sentence", "votes_sentence") if comparison.get(name)]
    return [*table, f"On {number(evaluation['gold_rows'])} gold rows.", *said]


def _learning_curve(student: Path) -> list[str]:
    rows = [[number(point.rows), percent(point.accuracy)] for point in learning_curve_of(student)]
    if not rows:
        return []
    if expected := forecast_of(student):
        rows.append([f"{number(expected.rows)} (forecast)", percent(expected.accuracy)])
    return _table("Learning curve", ["voted texts", "held-out votes met"], rows)


def _speed(metrics: Mapping[str, Any]) -> list[list[str]]:
    engine = metrics["engine"]
    return [
        ["engines", number(engine["replicas"])],
        ["start-up", duration(engine["startup_s"])],
        ["polling", duration(engine["wall_s"])],
        ["documents/s", number(engine["documents_per_s"])],
        ["output tokens/s", number(engine["output_tokens_per_s"])],
        ["prompt tokens from the cache", percent(engine.get("cached_share"))],
        ["latency of an answer, p50 and p95", f"{_seconds(engine, 50)}, {_seconds(engine, 95)}"],
    ]


def _seconds(engine: Mapping[str, Any], percentile: int) -> str:
    return with_unit(engine.get(f"latency_p{percentile}_s"), "s")


def _energy(metrics: Mapping[str, Any]) -> list[str]:
    energy, cost = metrics["energy"], metrics["cost"]
    rows = [
        [stage, number(energy["wall_s"][stage]), number(joules), number(cost["by_stage"][stage]["usd"])]
        for stage, joules in energy["stages"].items()
    ]
    said = [f"- {_safe(assumption)}" for assumption in cost["assumptions"]]
    figures = [
        ["energy", with_unit(energy["energy_j"], "J")],
        ["source", energy["source"] if energy["source"] != "none" else f"none: {energy['why']}"],
        ["energy per label", with_unit(energy["per_label_j"], "J")],
        ["energy per correct label", with_unit(energy["per_correct_label_j"], "J")],
        *([["estimate", energy["estimate"]["how"]]] if energy["estimate"] else []),
        ["cost", with_unit(cost["usd"], "USD")],
        ["CO2", with_unit(cost["co2_kg"], "kg")],
        ["break-even volume", with_unit(cost["break_even_texts"], "texts")],
    ]
    steps = _rows(["step", "wall time, s", "energy, J", "cost, USD"], rows) if rows else "No step was timed."
    return [*_table("Energy and cost", ["figure", "value"], figures), steps, "Assumptions:", "\n".join(said)]


def _failures(metrics: Mapping[str, Any]) -> list[list[str]]:
    errors = [[f"error: {kind}", number(count)] for kind, count in metrics["errors"].items()]
    unparsable, abstained = metrics["votes"]["unparsable"], metrics["labels"]["abstained"]
    return [*errors, ["answers without a label", number(unparsable)], ["abstentions", number(abstained)]]


def _provenance(environment: Mapping[str, Any]) -> list[list[str]]:
    state = {True: " (with changes on top)", False: ""}.get(environment["dirty"], "")
    packages = ", ".join(f"{name} {version}" for name, version in environment["packages"].items())
    return [
        ["commit", f"{environment['commit'] or 'not known'}{state}"],
        ["processor", f"{environment['processor']}, {environment['cores']} cores"],
        ["packages", packages],
    ]


def _interval(score: Mapping[str, Any], name: str) -> str:
    low, high = score[f"{name}_ci95"]
    return f"{percent(score[name])} ({100 * low:.1f} to {100 * high:.1f})"


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"## {title}", _rows(header, rows)]


def _rows(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(_safe, line)) + " |" for line in lines)


def _safe(text: str) -> str:
    """Text that no Markdown reader takes for markup: one line, with HTML and table marks escaped."""
    escaped = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;")
    for mark in "\\|`[]*_":
        escaped = escaped.replace(mark, f"\\{mark}")
    return escaped
