"""A table of the page as CSV, to be copied into a spreadsheet."""

import csv
import io
import re
from collections.abc import Iterable, Sequence

from xpoll.core.formatting import NOT_MEASURED
from xpoll.core.spreadsheets import as_cell

_FIGURE = re.compile(r"[+-]?[\d,]*\.?\d+(e[+-]?\d+)?( %)?")


def csv_text(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """The table as CSV, a row a line; a figure stays one, and what else a spreadsheet would compute is text.

    Args:
        header: Names of the columns.
        rows: Cells as the page shows them; one without a figure is empty.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    for row in (header, *rows):
        writer.writerow([_cell(str(cell)) for cell in row])
    return file.getvalue()


def _cell(shown: str) -> str:
    if shown in (NOT_MEASURED, "-"):
        return ""
    return shown if _FIGURE.fullmatch(shown) else as_cell(shown)
