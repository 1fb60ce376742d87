"""The CSV form that people fill in with a spreadsheet, and what spreadsheets make of it when they save it.

Excel reads a CSV without a byte order mark in the code page of the country, computes cells that begin like a formula,
holds 32,767 characters a cell, takes the zeros off numbers and the last digits off those of more than 15, and saves
in the code page and with the separator of the country. So the form has a byte order mark, harmless and short cells,
and in its last column a name of the row that no spreadsheet changes; it is read in any of the ways it may be saved.
"""

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from xpoll.core.spreadsheets import as_cell
from xpoll.core.tables.csv_records import csv_records

QUESTION = "label"
DOCUMENT_ID = "document_id"
ROW_NAME = "row"
MOST_UNITS = 32_000
"""Longest text of a cell in UTF-16 units; Excel moves what is beyond 32,767 to further rows."""

_SEPARATORS = (",", ";", "\t")


class Answer(NamedTuple):
    """One row of a filled form.

    Attributes:
        place: Where it is in the file, for errors.
        document_id: Of the document.
        label: As it was written; None where it was left empty.
        problem: Why the row cannot be used, if so.
    """

    place: str
    document_id: str
    label: str | None
    problem: str | None = None


def write_sheet(path: Path, rows: Sequence[Mapping[str, Any]], texts: Mapping[str, str]) -> None:
    """Writes a form.

    Args:
        path: The file to write.
        rows: Of the sample, with `document_id` and `weight`.
        texts: Document id to text.
    """
    with path.open("w", encoding="utf-8-sig", newline="", errors="backslashreplace") as file:
        table = csv.writer(file)
        table.writerow([DOCUMENT_ID, "text", QUESTION, "weight", ROW_NAME])
        for row in rows:
            document_id = row[DOCUMENT_ID]
            cells = [as_cell(document_id), as_cell(_short(texts[document_id])), "", row["weight"]]
            table.writerow([*cells, _row_name(document_id)])


def read_sheet(path: Path, documents: Collection[str]) -> Iterator[Answer]:
    """The rows of a form, as a spreadsheet has saved it; a row that cannot be used has a problem.

    Args:
        path: The filled form.
        documents: Ids of the sample.

    Raises:
        OSError: the file cannot be read.
        ValueError: it has no columns of document ids and labels.
    """
    text = _decoded(path.read_bytes())
    separator = _separator(text)
    records = csv_records(io.StringIO(text, newline=""), delimiter=separator)
    header = [cell.strip().casefold() for cell in next(records).cells]
    by_name = {_row_name(document_id): document_id for document_id in documents}
    as_numbers = Counter(map(_number, documents)) - Counter({None: len(documents)})
    for record in records:
        place, row = f"row {record.line}", dict(zip(header, record.cells, strict=False))
        label = row.get(QUESTION, "").strip() or None
        document_id, problem = _told(row.get(DOCUMENT_ID, ""), documents), record.problem
        if name := row.get(ROW_NAME, "").strip().casefold():
            document_id = by_name.get(name, document_id)
        elif as_numbers[_number(document_id)] > 1:
            problem = problem or f"document {document_id!r} may be one of several whose zeros a spreadsheet took off"
        yield Answer(place, document_id, label, problem)


def _decoded(content: bytes) -> str:
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:  # the texts may be garbled, but ids and most labels are ASCII
        return content.decode("cp1252", "replace")


def _separator(text: str) -> str:
    """What stands between the cells: that with which the first line names the columns.

    Raises:
        ValueError: no first line does.
    """
    first = text.lstrip("\r\n").partition("\n")[0] + "\n"
    missing = DOCUMENT_ID
    for separator in _SEPARATORS:
        record = next(csv_records([first], delimiter=separator), None)
        cells = [cell.strip().casefold() for cell in record.cells] if record else []
        if {DOCUMENT_ID, QUESTION} <= set(cells):
            return separator
        if DOCUMENT_ID in cells:
            missing = QUESTION
    raise ValueError(f"it has no column {missing!r}")


def _row_name(document_id: str) -> str:
    """A name that looks like no number, date or formula, and is that of no other document."""
    return f"r-{hashlib.sha256(document_id.encode(errors='backslashreplace')).hexdigest()[:12]}"


def _told(cell: str, documents: Collection[str]) -> str:
    return cell[1:] if cell not in documents and cell.startswith("'") and cell[1:] in documents else cell


def _number(document_id: str) -> str | None:
    """The id as a spreadsheet keeps it, if it is a number to it."""
    digits = document_id.strip()
    return digits.lstrip("0") or "0" if digits.isdecimal() else None


def _short(text: str) -> str:
    units = text.encode("utf-16-le", "surrogatepass")
    if len(units) <= 2 * MOST_UNITS:
        return text
    kept = units[: 2 * MOST_UNITS].decode("utf-16-le", "ignore")
    return f"{kept} [... {len(text) - len(kept)} more characters are not shown]"
