"""What of the page differs between kinds of tasks: where its figures come from, and the templates that show them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Sections:
    """The sections `panel` and `data` of a page, and its charts.

    Attributes:
        decisions: From labels.parquet, the task's labels and how many rows to show to what the page says of documents;
            it has `row_of`, `abstained`, `gold` and `sample`.
        panel: From votes.parquet, the labels, the decisions, the panel section and the personas' names to what it says
            of personas.
        charts: From the evaluation, the labels, the decisions, the panel and the student's folder to charts by name.
        panel_template: Shows the panel.
        data_template: Shows the documents.
    """

    decisions: Callable[..., Any]
    panel: Callable[..., Any]
    charts: Callable[..., Any]
    panel_template: str
    data_template: str
