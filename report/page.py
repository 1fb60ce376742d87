"""report.html: a run on one page, for people.

Reads config.resolved.json, environment.json, metrics.json, evaluation.json, panel.json and the student's training.json
(where there are any), labels.parquet and votes.parquet. Writes report.html: one file that loads nothing and runs
nothing, the same bytes for the same inputs. Text of documents, models and files is hostile and always escaped.
Labels and votes are streamed; kept are the id of a document and a number for each of its votes, and the
text of gold rows and of the sample.
"""

import json
import math
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from xpoll.core.files import read_json, write_text
from xpoll.core.run_folder import RunFolder
from xpoll.report.charts.bars import label_colour, percent
from xpoll.report.cost import PUBLISHED, PUBLISHED_SOURCE
from xpoll.report.decisions import Decisions
from xpoll.report.figures import RATERS, charts_of
from xpoll.report.panel import PanelFigures, names_of
from xpoll.report.verdict import verdict

NOT_MEASURED = "not measured"


def write_report(folder: RunFolder) -> Path:
    """Writes the page of a run and returns where it is.

    Raises:
        RunFolderError: an input is missing, or the page cannot be written.
    """
    config = read_json(folder.require(folder.config, step="run"))
    labels = list(config["task"]["labels"])
    decisions = Decisions(folder.require(folder.labels, step="vote"), labels, config["report"]["sample_rows"])
    people = read_json(folder.panel)["personas"] if folder.panel.exists() else []
    votes = folder.require(folder.votes, step="vote")
    panel = PanelFigures(votes, labels, decisions, config["panel"], names_of(people))
    metrics = read_json(folder.require(folder.metrics, step="report"))
    evaluation = (read_json(folder.evaluation) if folder.evaluation.exists() else None) or {}
    scores = {rater: evaluation.get(rater) for rater in RATERS}
    template = templates().get_template("report.html.jinja")
    page = template.render(
        config=config,
        environment=read_json(folder.require(folder.environment, step="poll")),
        metrics=metrics,
        evaluation=evaluation,
        labels=labels,
        scores={rater: score for rater, score in scores.items() if score},
        raters=RATERS,
        verdict=verdict(evaluation, decisions.gold),
        decisions=decisions,
        panel=panel,
        published=PUBLISHED,
        published_source=PUBLISHED_SOURCE,
        panel_size=len(people) or len(config["panel"]["personas"]),
        charts=charts_of(evaluation, labels, decisions, panel, folder.student),
    )
    write_text(folder.report, page)
    return folder.report


def number(value: float | None) -> str:
    """Counts in full, other figures with three to four digits; "not measured" for None."""
    if value is None:
        return NOT_MEASURED
    if isinstance(value, int) or value == int(value):
        return f"{int(value):,}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"


def duration(seconds: float | None) -> str:
    """Seconds, and from two minutes on also hours and minutes."""
    if seconds is None or seconds < 120:
        return NOT_MEASURED if seconds is None else f"{number(seconds)} s"
    minutes = round(seconds / 60)
    spoken = f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
    return f"{number(round(seconds))} s (about {spoken})"


def with_unit(value: float | None, unit: str) -> str:
    """A figure and its unit; "not measured" for None."""
    return NOT_MEASURED if value is None else f"{number(value)} {unit}"


def ratio(part: float | None, whole: float | None) -> float | None:
    """`part` over `whole`; None where either was not measured or `whole` is 0."""
    return part / whole if part is not None and whole else None


def visible(text: str, length: int = 600) -> str:
    """Text of a document, cut, with control characters shown as their pictures."""
    shown = text if len(text) <= length else f"{text[:length]}\u2026 ({len(text):,} characters)"
    return "".join(chr(0x2400 + ord(c)) if ord(c) < 32 and c not in "\n\t" else c for c in shown)


def templates() -> Environment:
    """The pages' templates: escaping, with the filters that turn figures into words."""
    loader = FileSystemLoader(Path(__file__).parent / "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": percent, "number": number, "duration": duration, "visible": visible}
    environment.filters["with_unit"] = with_unit
    environment.filters["percent_or_dash"] = lambda share: "-" if share is None else percent(share)
    environment.filters["counted"] = lambda pair: (pair[0], number(pair[1]))
    environment.filters["unbroken"] = lambda text: text.replace(" %", "\u00a0%").replace("p = ", "p\u00a0=\u00a0")
    environment.filters["as_json"] = lambda value: json.dumps(value, indent=2, ensure_ascii=False)
    environment.globals |= {"label_colour": label_colour, "ratio": ratio, "NOT_MEASURED": NOT_MEASURED}
    return environment
