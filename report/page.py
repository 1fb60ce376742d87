"""report.html: a run on one page, for people.

Reads config.resolved.json, environment.json, metrics.json, labels.parquet and votes.parquet, and where they are there
evaluation.json, panel.json and the student's training.json. Writes report.html: one file that loads nothing and runs
nothing, the same bytes for the same inputs. Text of documents, models and files is hostile and always escaped.
Labels and votes are streamed; what is kept per document is its id and a number for each of its votes, and the
text only of gold rows and of the sample.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from xpoll.core import formatting
from xpoll.core.files import read_object, write_text
from xpoll.core.formatting import NOT_MEASURED, number, percent
from xpoll.core.results import Result
from xpoll.core.run_folder import RunFolder
from xpoll.report import wording
from xpoll.report.charts.bars import MANY_LABELS, label_colour
from xpoll.report.csv_text import csv_text
from xpoll.report.figures import MANY_PERSONAS, RATERS, confused_pairs, scores_of
from xpoll.report.metrics import read_metrics
from xpoll.report.panel import names_of, panel_section, panel_size, personas_of
from xpoll.report.sections.registry import SECTIONS
from xpoll.report.synthesis import synthesis_section
from xpoll.student.evaluation import read_evaluation, verdict_in
from xpoll.student.score_columns import score_columns
from xpoll.student.wording import MEASURES, comparison_sentence, verdict_sentence, votes_sentence
from xpoll.votes.tasks.registry import kind_of

TALL = 30
"""Rows of a table from which on it scrolls in its place, with its head in sight."""


def write_report(folder: RunFolder) -> Path:
    """Writes the page of a run and returns where it is.

    Raises:
        RunFolderError: an input is missing or of another version, or the page cannot be written.
    """
    config = read_object(folder.require(folder.config, step="run"), "task", "report")
    labels = list(config["task"]["labels"])
    head = kind_of(config["task"]["kind"]).head
    sections = SECTIONS[head]
    decisions = sections.decisions(folder.require(folder.labels, step="vote"), labels, config["report"]["sample_rows"])
    votes = folder.require(folder.votes, step="vote")
    panel = sections.panel(votes, labels, decisions, panel_section(folder, config), names_of(personas_of(folder)))
    evaluation = read_evaluation(folder)
    page = (
        templates()
        .get_template("report.html.jinja")
        .render(
            config=config,
            environment=read_object(folder.require(folder.environment, step="poll"), "commit"),
            metrics=read_metrics(folder),
            evaluation=evaluation,
            labels=labels,
            confused=confused_pairs(evaluation),
            scores=scores_of(evaluation),
            raters=RATERS,
            verdict=verdict_in(evaluation),
            decisions=decisions,
            panel=panel,
            panel_size=panel_size(folder, config),
            charts=sections.charts(evaluation, labels, decisions, panel, folder.student),
            head=head,
            templates={"panel": sections.panel_template, "data": sections.data_template},
            columns=score_columns(evaluation) if evaluation else [],
            synthesis=synthesis_section(folder),
        )
    )
    write_text(folder.report, page)
    return folder.report


def ratio(part: float | None, whole: float | None) -> float | None:
    """`part` over `whole`; None where either was not measured or `whole` is 0."""
    return part / whole if part is not None and whole else None


def visible(text: str, length: int = 600) -> str:
    """Text of a document, cut, with control characters shown as their pictures."""
    shown = text if len(text) <= length else f"{text[:length]}\u2026 ({len(text):,} characters)"
    return "".join(chr(0x2400 + ord(c)) if ord(c) < 32 and c not in "\n\t" else c for c in shown)


def templates() -> Environment:
    """The pages' templates: escaping, with the filters and functions that turn figures into text."""
    loader = FileSystemLoader(Path(__file__).parent / "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    named = (formatting.percent, formatting.number, formatting.duration, formatting.with_unit, formatting.points)
    environment.filters |= {function.__name__: function for function in named}
    further: dict[str, Callable[..., Any]] = {
        "visible": visible,
        "unbroken": _unbroken,
        "as_json": _as_json,
        "percent_or_dash": lambda share: percent(share, none="-"),
        "as_csv": csv_text,
        "counted": lambda pair: (pair[0], number(pair[1])),
        "p_value": formatting.p_value,
        "noise": formatting.noise,
        "interval": lambda ends: formatting.interval(*ends),
    }
    environment.filters |= further
    sentences = (verdict_sentence, comparison_sentence, votes_sentence)
    environment.globals |= {function.__name__: function for function in sentences}
    environment.globals |= {
        "label_colour": label_colour,
        "ratio": ratio,
        "NOT_MEASURED": NOT_MEASURED,
        "TALL": TALL,
        "MANY_LABELS": MANY_LABELS,
        "MANY_PERSONAS": MANY_PERSONAS,
        "MEASURES": MEASURES,
    }
    environment.globals |= {"words": wording, "plural": formatting.counted}
    return environment


def _unbroken(text: str) -> str:
    """The text with spaces that do not break before a percent sign and in a p-value."""
    return text.replace(" %", "\u00a0%").replace("p = ", "p\u00a0=\u00a0").replace("p < ", "p\u00a0<\u00a0")


def _as_json(value: Any) -> str:
    return json.dumps(value.as_json() if isinstance(value, Result) else value, indent=2, ensure_ascii=False)
