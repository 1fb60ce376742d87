"""Which sections the page of each kind of student has. To add some: a file with its `Sections`, and one line."""

from xpoll.report.decisions import Decisions
from xpoll.report.figures import charts_of
from xpoll.report.panel import PanelFigures
from xpoll.report.sections.marks import SETS, SPANS
from xpoll.report.sections.section import Sections

ONE_LABEL = Sections(Decisions, PanelFigures, charts_of, "panel.html.jinja", "data.html.jinja")

SECTIONS: dict[str, Sections] = {
    "label": ONE_LABEL,
    "step": ONE_LABEL,
    "label set": SETS,
    "spans": SPANS,
}
"""By the name of the head, as `TaskKind.head` has it."""
