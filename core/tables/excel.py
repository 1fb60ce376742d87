"""Reads a sheet of an Excel workbook (.xlsx) row by row: the first one, or that named behind a `#`.

The first row names the columns. Formulas have the value that was last computed; a cell with an error is a problem of
its row. Rows without any value are no rows, as empty lines of CSV files are. The texts of a workbook lie in one table
of it, which is in memory as a whole.
"""

import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, time, timedelta
from typing import Any, NamedTuple

from pyarrow import fs

from xpoll.core.errors import ConfigError

SUFFIX = ".xlsx"
MOST_BYTES = 2**31
"""Most bytes of a workbook when it is unpacked: a file of some megabytes can hold ones that fill the memory."""
SMALL_BYTES = 2**24
"""So many a workbook may have in any case."""
DENSEST, DENSEST_HELD = 50, 20
"""How much smaller no sheet becomes by being packed, and no part that is held in memory whole; usual is 5 to 20."""
MOST_ROWS = 2**20
"""Rows of a sheet, in Excel too; a file of a kilobyte can number one as the last of a billion."""
_SHEETS = "xl/worksheets/"
_MAGIC = b"PK\x03\x04"
_SHEET = re.compile(rf"(?i)(?P<file>.+{re.escape(SUFFIX)})#(?P<sheet>.+)", re.DOTALL)


class SheetRow(NamedTuple):
    """The cells of a row, None where there is nothing, and what is wrong with it."""

    cells: list[Any]
    problem: str | None = None


def split_sheet(path: str) -> tuple[str, str | None]:
    """The file and the sheet that a path names; None where it names none."""
    found = _SHEET.fullmatch(path)
    return (path, None) if found is None else (found["file"], found["sheet"])


@contextmanager
def open_sheet(filesystem: fs.FileSystem, path: str) -> Iterator[Iterator[SheetRow]]:
    """The rows of a sheet, that of the columns' names first.

    Args:
        filesystem: That of the file.
        path: The file, and behind a `#` the sheet.

    Raises:
        OSError: it is no workbook, or has no such sheet.
        ConfigError: openpyxl is not installed.
    """
    try:
        import openpyxl
    except ImportError as error:
        raise ConfigError(
            "Excel files need the package openpyxl", mend="pip install openpyxl, or save as CSV"
        ) from error
    file_path, name = split_sheet(path)
    with filesystem.open_input_file(file_path) as file:
        try:
            _check_size(file)
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)
        except zipfile.BadZipFile as error:
            raise OSError("it is no Excel workbook (.xlsx), or is one with a password") from error
        except (KeyError, ValueError, TypeError, AttributeError, SyntaxError) as error:
            raise OSError(f"it is no whole Excel workbook: {error}") from error
        try:
            yield _rows(_sheet_of(book, name))
        finally:
            book.close()


def _check_size(file: Any) -> None:
    if file.read(len(_MAGIC)) != _MAGIC:
        raise zipfile.BadZipFile
    with zipfile.ZipFile(file) as packed:
        parts = packed.infolist()
    full = sum(each.file_size for each in parts)
    if full > MOST_BYTES:
        raise OSError(f"it unpacks to {full} bytes; save it as CSV")
    size = file.seek(0, io.SEEK_END)
    held = sum(each.file_size for each in parts if not each.filename.startswith(_SHEETS))
    if full > max(SMALL_BYTES, DENSEST * size) or held > max(SMALL_BYTES, DENSEST_HELD * size):
        raise OSError(f"it unpacks to {full} bytes from {size}, which no sheet does; save it as CSV")
    file.seek(0)


def _sheet_of(book: Any, name: str | None) -> Any:
    named = {sheet.title: sheet for sheet in book.worksheets}
    if not named:
        raise OSError("it has no sheet with cells")
    if name is not None and name not in named:
        raise OSError(f"it has no sheet {name!r}; its sheets are: {', '.join(named)}")
    return named[name] if name is not None else next(iter(named.values()))


def _rows(sheet: Any) -> Iterator[SheetRow]:
    sheet.reset_dimensions()  # some writers note too small ones
    try:
        for number, row in enumerate(sheet.iter_rows()):
            if number == MOST_ROWS:
                raise OSError(f"sheet {sheet.title!r} has more than {MOST_ROWS} rows; save it as CSV")
            cells = [_plain(cell.value) for cell in row]
            if any(cell is not None for cell in cells):
                yield SheetRow(cells, next(filter(None, map(_problem, row)), None))
    except (KeyError, ValueError, TypeError, IndexError, SyntaxError, zipfile.BadZipFile) as error:
        raise OSError(f"sheet {sheet.title!r} is damaged: {error}") from error


def _problem(cell: Any) -> str | None:
    return f"cell {cell.coordinate} holds the error {cell.value}" if cell.data_type == "e" else None


def _plain(value: Any) -> Any:
    """A value as JSON has it: dates and times in their ISO form."""
    if isinstance(value, date | time):
        return value.isoformat()
    return str(value) if isinstance(value, timedelta) else value


def header_of(cells: Sequence[Any]) -> list[str]:
    """Names of the columns, up to the last cell that has one; one before it that has none is called by its number."""
    names = ["" if cell is None else str(cell) for cell in cells]
    while names and not names[-1]:
        names.pop()
    return [name or f"column {number}" for number, name in enumerate(names, 1)]
