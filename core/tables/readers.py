"""Streams the rows of CSV, JSONL, Parquet, Arrow and Excel files, local or on any file system pyarrow knows.

A path may also be a folder or a pattern that stands for several such files; see core/tables/folders.py.
A row that cannot be read becomes a row with a problem, in its place; its neighbours are not affected.
No file is ever in memory as a whole, but the texts of an Excel workbook are (core/tables/excel.py).
"""

import codecs
import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import chain
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from xpoll.core.errors import InputError
from xpoll.core.tables.arrow import OPENERS, problem_column, rows_of
from xpoll.core.tables.csv_records import Record, csv_records
from xpoll.core.tables.excel import header_of, open_sheet, split_sheet
from xpoll.core.tables.folders import files_at
from xpoll.core.tables.hub import PREFIX, hub_files, network_errors, quoted_uri

DAMAGE = (OSError, EOFError, ValueError, KeyError, RecursionError, pa.ArrowException, csv.Error)
"""What a file makes readers raise that is not what it should be, or JSON of another form beside it."""


class Row(NamedTuple):
    """One row of a file: its number from 0, and its values or the problem with it."""

    number: int
    values: dict[str, Any]
    problem: str | None = None


class OpenTable(NamedTuple):
    """An open file: its rows, and its columns, None where no place in the file names them for all rows."""

    columns: Sequence[str] | None
    rows: Iterator[Row]


class Source(NamedTuple):
    """The files that a path stands for, all of one kind."""

    filesystem: fs.FileSystem
    files: list[str]
    kind: str


def find_source(path: str, *, key: str, kind: str | None = None) -> Source:
    """The files that a path stands for.

    Args:
        path: File, folder or pattern, or a URI of one that pyarrow's file systems understand.
        key: Config key or argument that named the path, for errors.
        kind: Kind of file, one of READERS; without it, each file's suffix says.

    Raises:
        InputError: there is no such file, or it is of an unknown kind.
    """
    with _unreadable(path, key):
        file_path, sheet = split_sheet(path)
        filesystem, inner = _located(file_path, key)
        # An unknown suffix is the likelier mistake, so it is reported before the file is looked for.
        if kind is None and PurePosixPath(inner).suffix and not _is_folder(filesystem, inner):
            _kind(inner, path, key)
        files = files_at(filesystem, inner, key=key, shown=path)
    kinds = [kind or _kind(file, path, key) for file in files] or ["arrow"]
    if sheet is not None:
        files = [f"{file}#{sheet}" for file in files]
    if len(set(kinds)) > 1:
        raise InputError(f"{key}: {path} names files of several kinds", mend="name files of one kind")
    return Source(filesystem, files, kinds[0])


def stream_rows(path: str, *, key: str, needs: tuple[str, ...] = (), kind: str | None = None) -> Iterator[Row]:
    """The rows of a file in order; those of several files one file after the other.

    Args:
        path: Local path or a URI that pyarrow's file systems understand, e.g. s3://bucket/texts.parquet, or that of a
            data set on the Hugging Face hub, hf://datasets/OWNER/NAME/...; a file, a folder of a dataset, or a pattern.
            Behind an Excel file `#` and the name of a sheet.
        key: Config key or argument that named the path, for errors.
        needs: Columns that must exist. A file's header or schema says whether they do; of JSONL, where it takes all
            rows to know, a record without one is an ordinary row, and only a file without any such record is refused.
        kind: Kind of file, one of READERS; without it, each file's suffix says.

    Raises:
        InputError: no such file, unknown kind of file, no rows or a missing column; or, while rows are read, a
            file that cannot be read to its end, or a further file that has no such column.
    """
    source = find_source(path, key=key, kind=kind)
    rows = _reading(source, path, key, needs)
    first = next(rows, None)
    if first is None:
        raise InputError(f"{key}: {path} has no rows", mend="give a file with at least one row below the header")
    return chain([first], rows)


_KEY_OF_COLUMN = "text_column, id_column or label_column to one of them"


def count_rows(path: str, *, key: str) -> int:
    """Number of rows; reads them all, except in Parquet files, whose footers have it.

    Args:
        path: As `stream_rows` takes it.
        key: Config key or argument that named the path, for errors.

    Raises:
        InputError: a file cannot be read, or, other than in Parquet files, there are no rows.
    """
    source = find_source(path, key=key)
    if source.kind != "parquet":
        return sum(1 for _ in stream_rows(path, key=key))
    number = 0
    with _unreadable(path, key):
        for file in source.files:
            with source.filesystem.open_input_file(file) as opened:
                parquet = pq.ParquetFile(opened)
                if problem_column(parquet.schema_arrow):
                    return sum(1 for _ in stream_rows(path, key=key))
                number += parquet.metadata.num_rows
    return number


def column_types(path: str, *, key: str) -> dict[str, pa.DataType]:
    """Types of the columns of Parquet and Arrow files, by the first of them; empty for files without types.

    Args:
        path: As `stream_rows` takes it.
        key: Config key or argument that named the path, for errors.

    Raises:
        InputError: there is no such file, or it cannot be read.
    """
    source = find_source(path, key=key)
    if source.kind not in OPENERS or not source.files:
        return {}
    with _unreadable(path, key), OPENERS[source.kind](source.filesystem, source.files[0]) as opened:
        return {field.name: field.type for field in opened.schema}


@contextmanager
def _unreadable(path: str, key: str, *, cannot: str = "cannot be read") -> Iterator[None]:
    """What a file that is damaged makes of the block is one line."""
    try:
        yield
    except (*DAMAGE, *network_errors()) as error:
        raise InputError(f"{key}: {path} {cannot}: {error}") from error


def _located(path: str, key: str) -> tuple[fs.FileSystem, str]:
    if path.startswith(PREFIX):
        return hub_files(path, key=key)
    if "://" not in path:
        return fs.LocalFileSystem(), path
    located: tuple[fs.FileSystem, str] = fs.FileSystem.from_uri(quoted_uri(path))
    return located


def _is_folder(filesystem: fs.FileSystem, inner: str) -> bool:
    return bool(filesystem.get_file_info(inner).type == fs.FileType.Directory)


def _kind(file: str, path: str, key: str) -> str:
    name = PurePosixPath(file).name.lower()
    kind = name.removesuffix(".gz").removesuffix(".zst").rpartition(".")[2]
    if kind not in READERS:
        raise InputError(f"{key}: {path} is no {', '.join(sorted(READERS))} file", mend="convert it to one of these")
    return kind


def _reading(source: Source, path: str, key: str, needs: Sequence[str]) -> Iterator[Row]:
    number, unseen, first_problem = 0, set(needs), None
    columns: dict[str, None] = {}
    try:
        for file in source.files:
            with READERS[source.kind](source.filesystem, file) as table:
                if table.columns is not None:
                    _check_columns(table.columns, needs, path if len(source.files) == 1 else file, key)
                    unseen.clear()
                for row in table.rows:
                    yield row if row.number == number else row._replace(number=number)
                    number += 1
                    if unseen:
                        unseen.difference_update(row.values)
                        columns.update(dict.fromkeys(row.values) if len(columns) < _MOST_SHOWN else ())
                        first_problem = first_problem or row.problem
    except (*DAMAGE, *network_errors()) as error:
        cannot = "cannot be read to its end" if number else "cannot be read"
        raise InputError(f"{key}: {path} {cannot}: {error}") from error
    if number and unseen:
        why = f"; {first_problem}" if first_problem else ""
        raise _no_column(next(column for column in needs if column in unseen), list(columns), path, key, why)


_MOST_SHOWN = 20


def _check_columns(columns: Sequence[str], needs: Sequence[str], path: str, key: str) -> None:
    for column in needs:
        if columns.count(column) > 1:
            raise InputError(f"{key}: {path} has {columns.count(column)} columns {column!r}", mend="rename all but one")
        if column not in columns and columns:
            raise _no_column(column, columns, path, key)


def _no_column(column: str, columns: Sequence[str], path: str, key: str, why: str = "") -> InputError:
    shown = ", ".join(name if len(name) < 80 else f"{name[:80]}..." for name in columns[:_MOST_SHOWN]) or "none"
    if len(columns) > _MOST_SHOWN:
        shown += f" and {len(columns) - _MOST_SHOWN} more"
    message = f"{key}: {path} has no column {column!r}; its columns are: {_replaced(shown)}{why}"
    for delimiter, name in ((";", "semicolons"), ("\t", "tabs")):
        if len(columns) == 1 and column in columns[0].split(delimiter):
            return InputError(f"{message}; its cells are separated by {name}", mend="save it with commas between cells")
    if _LISTED in why:
        return InputError(message, mend=f"write one object a line: jq -c '.[]' {path} > lines.jsonl")
    return InputError(
        message,
        mend=f"set {key.rpartition('.')[0]}.{_KEY_OF_COLUMN}" if "." in key else "name it with --text-column",
    )


def _text(filesystem: fs.FileSystem, path: str) -> io.TextIOWrapper:
    # surrogateescape marks bytes that are not UTF-8, so that only their own row has a problem.
    stream = filesystem.open_input_stream(path, compression="detect")
    buffered = io.BufferedReader(stream)
    if buffered.peek(4)[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        raise OSError("it is encoded in UTF-16; save it as UTF-8")
    return io.TextIOWrapper(buffered, encoding="utf-8-sig", errors="surrogateescape", newline="")


LONGEST_LINE = 2**24
"""Most characters of a line: a compressed file of some kilobytes can hold one that fills the memory.

What JSON makes of a line takes up to some twenty times its size, e.g. of a list of empty lists."""


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    """The lines of a text with their ends; a line that is too long is cut, and what is left of it skipped.

    So such a line has LONGEST_LINE characters and no end.
    """
    while line := text.readline(LONGEST_LINE):
        yield line
        while len(line) == LONGEST_LINE and not line.endswith("\n"):
            line = text.readline(LONGEST_LINE)


def _readable(number: int, values: dict[str, Any]) -> Row:
    for column, value in values.items():
        if isinstance(value, str) and not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                readable = {c: v if not isinstance(v, str) else _replaced(v) for c, v in values.items()}
                return Row(number, readable, f"column {column!r} is not UTF-8")
    return Row(number, values)


# Bytes that are not UTF-8 become one each, see _text; JSON can contain any of them as an escape.
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def _replaced(text: str) -> str:
    return _LONE_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)


def _bounded(line: str) -> str:
    if len(line) == LONGEST_LINE:
        raise OSError(f"it has a line of more than {LONGEST_LINE} characters")
    return line


@contextmanager
def _read_csv(filesystem: fs.FileSystem, path: str) -> Iterator[OpenTable]:
    with _text(filesystem, path) as text:
        records = csv_records(map(_bounded, _lines(text)))
        header = next(records, None)
        if header is not None and header.problem:
            raise csv.Error(f"its header cannot be read: {header.problem}")
        columns = header.cells if header else []
        yield OpenTable(columns, (_csv_row(number, record, columns) for number, record in enumerate(records)))


def _csv_row(number: int, record: Record, header: list[str]) -> Row:
    cells, problem = record.cells, record.problem
    if problem is None and len(cells) == len(header):
        return _readable(number, dict(zip(header, cells, strict=True)))
    problem = problem or f"row has {len(cells)} cells where the header has {len(header)}"
    if len(cells) > len(header):  # nothing of what was read is lost from an output
        cells = [*cells[: len(header) - 1], ",".join(cells[len(header) - 1 :])]
    values = dict(zip(header, cells + [""] * (len(header) - len(cells)), strict=True))
    return _readable(number, values)._replace(problem=problem)


@contextmanager
def _read_jsonl(filesystem: fs.FileSystem, path: str) -> Iterator[OpenTable]:
    with _text(filesystem, path) as text:
        yield OpenTable(None, (_json_row(number, line) for number, line in enumerate(filter(str.strip, _lines(text)))))


_LISTED = ": the file is a JSON list, and each line is to be one object"


def _json_row(number: int, line: str) -> Row:
    if len(line) == LONGEST_LINE:
        return Row(number, {}, f"line has more than {LONGEST_LINE} characters")
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        listed = _LISTED if line.strip() == "[" else ""
        return Row(number, {}, f"line is no JSON: {error}{listed}")
    return _readable(number, values) if isinstance(values, dict) else Row(number, {}, "line is no JSON object")


@contextmanager
def _read_xlsx(filesystem: fs.FileSystem, path: str) -> Iterator[OpenTable]:
    with open_sheet(filesystem, path) as rows:
        first = next(rows, None)
        columns = header_of(first.cells) if first else []
        yield OpenTable(columns, (_sheet_row(number, *row, columns) for number, row in enumerate(rows)))


def _sheet_row(number: int, cells: list[Any], problem: str | None, header: list[str]) -> Row:
    beyond = [cell for cell in cells[len(header) :] if cell is not None]
    if beyond:
        problem = problem or f"row has a cell behind the {len(header)} columns of the header"
    values = dict(zip(header, cells + [None] * (len(header) - len(cells)), strict=False))
    return _readable(number, values)._replace(problem=problem) if problem else _readable(number, values)


@contextmanager
def _read_typed(kind: str, filesystem: fs.FileSystem, path: str) -> Iterator[OpenTable]:
    with OPENERS[kind](filesystem, path) as opened:
        rows = chain.from_iterable(map(rows_of, opened.batches))
        yield OpenTable(opened.schema.names, (_readable(number, values) for number, values in enumerate(rows)))


READERS: dict[str, Callable[[fs.FileSystem, str], AbstractContextManager[OpenTable]]] = {
    "csv": _read_csv,
    "jsonl": _read_jsonl,
    "xlsx": _read_xlsx,
    **{kind: partial(_read_typed, kind) for kind in OPENERS},
}
"""Kind of file (its suffix, before .gz or .zst) to the function that opens it: the one place to add a kind."""
