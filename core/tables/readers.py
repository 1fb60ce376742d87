"""Streams the rows of CSV, JSONL, Parquet and Arrow files, local or on any file system pyarrow knows.

A path may also be a folder or a pattern that stands for several such files; see core/tables/folders.py.
A row that cannot be read becomes a row with a problem, in its place; its neighbours are not affected.
No file is ever in memory as a whole.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from xpoll.core.errors import InputError
from xpoll.core.tables.arrow import OPENERS, rows_of
from xpoll.core.tables.folders import files_at


class Row(NamedTuple):
    """One row of a file: its number from 0, and its values or the problem with it."""

    number: int
    values: dict[str, Any]
    problem: str | None = None


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
    try:
        filesystem, inner = _located(path)
        # An unknown suffix is the likelier mistake, so it is reported before the file is looked for.
        if kind is None and PurePosixPath(inner).suffix and not _is_folder(filesystem, inner):
            _kind(inner, path, key)
        files = files_at(filesystem, inner, key=key, shown=path)
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise InputError(f"{key}: {path} cannot be read: {error}") from error
    kinds = [kind or _kind(file, path, key) for file in files] or ["arrow"]
    if len(set(kinds)) > 1:
        raise InputError(f"{key}: {path} names files of several kinds", mend="name files of one kind")
    return Source(filesystem, files, kinds[0])


def stream_rows(path: str, *, key: str, needs: tuple[str, ...] = (), kind: str | None = None) -> Iterator[Row]:
    """The rows of a file in order; those of several files one file after the other.

    Args:
        path: Local path or a URI that pyarrow's file systems understand, e.g. s3://bucket/texts.parquet; a file,
            a folder of a dataset, or a pattern.
        key: Config key or argument that named the path, for errors.
        needs: Columns that must exist; checked before the first row is returned.
        kind: Kind of file, one of READERS; without it, each file's suffix says.

    Raises:
        InputError: no such file, unknown kind of file, no rows or a missing column; or, while rows are read, a
            file that cannot be read to its end.
    """
    source = find_source(path, key=key, kind=kind)
    rows = _reading(source, path, key)
    first = next(rows, None)
    if first is None:
        raise InputError(f"{key}: {path} has no rows", mend="give a file with at least one row below the header")
    missing = [column for column in needs if column not in first.values] if first.problem is None else []
    if missing:
        present = ", ".join(map(str, first.values)) or "none"
        raise InputError(
            f"{key}: {path} has no column {missing[0]!r}; its columns are: {present}",
            mend=f"set {key.rpartition('.')[0]}.{_KEY_OF_COLUMN}" if "." in key else "name it with --text-column",
        )
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
    for file in source.files:
        with source.filesystem.open_input_file(file) as opened:
            number += pq.ParquetFile(opened).metadata.num_rows
    return number


def column_types(path: str, *, key: str) -> dict[str, pa.DataType]:
    """Types of the columns of Parquet and Arrow files, by the first of them; empty for files without types.

    Args:
        path: As `stream_rows` takes it.
        key: Config key or argument that named the path, for errors.

    Raises:
        InputError: there is no such file.
    """
    source = find_source(path, key=key)
    if source.kind not in OPENERS or not source.files:
        return {}
    with OPENERS[source.kind](source.filesystem, source.files[0]) as opened:
        return {field.name: field.type for field in opened.schema}


def _located(path: str) -> tuple[fs.FileSystem, str]:
    if "://" not in path:
        return fs.LocalFileSystem(), path
    # A URI has no spaces and no letters like ä, and what follows a # would be lost.
    located: tuple[fs.FileSystem, str] = fs.FileSystem.from_uri(quote(path, safe=":/?=&%@+,;!$'()*[]~"))
    return located


def _is_folder(filesystem: fs.FileSystem, inner: str) -> bool:
    return bool(filesystem.get_file_info(inner).type == fs.FileType.Directory)


def _kind(file: str, path: str, key: str) -> str:
    name = PurePosixPath(file).name.lower()
    kind = name.removesuffix(".gz").removesuffix(".zst").rpartition(".")[2]
    if kind not in READERS:
        raise InputError(f"{key}: {path} is no {', '.join(sorted(READERS))} file", mend="convert it to one of these")
    return kind


def _reading(source: Source, path: str, key: str) -> Iterator[Row]:
    number = 0
    try:
        for file in source.files:
            for row in READERS[source.kind](source.filesystem, file):
                yield row if row.number == number else row._replace(number=number)
                number += 1
    except (OSError, EOFError, pa.ArrowException) as error:
        cannot = "cannot be read to its end" if number else "cannot be read"
        raise InputError(f"{key}: {path} {cannot}: {error}") from error


def _text(filesystem: fs.FileSystem, path: str) -> io.TextIOWrapper:
    # surrogateescape marks bytes that are not UTF-8, so that only their own row has a problem.
    stream = filesystem.open_input_stream(path, compression="detect")
    return io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")


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


def _read_csv(filesystem: fs.FileSystem, path: str) -> Iterator[Row]:
    csv.field_size_limit(2**31 - 1)
    with _text(filesystem, path) as text:
        reader = csv.reader(text)
        header = next(reader, None)
        if header is None:
            return
        number = 0
        for cells in reader:
            if not cells:
                continue
            values = dict(zip(header, cells, strict=False))
            if len(cells) != len(header):
                values.update(dict.fromkeys(header[len(cells) :], ""))
                yield Row(number, values, f"row has {len(cells)} cells where the header has {len(header)}")
            else:
                yield _readable(number, values)
            number += 1


def _read_jsonl(filesystem: fs.FileSystem, path: str) -> Iterator[Row]:
    with _text(filesystem, path) as text:
        number = 0
        for line in text:
            if not line.strip():
                continue
            try:
                values = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield Row(number, {}, f"line is no JSON: {error}")
            else:
                good = isinstance(values, dict)
                yield _readable(number, values) if good else Row(number, {}, "line is no JSON object")
            number += 1


def _read_typed(kind: str, filesystem: fs.FileSystem, path: str) -> Iterator[Row]:
    number = 0
    with OPENERS[kind](filesystem, path) as opened:
        for batch in opened.batches:
            for values in rows_of(batch):
                yield _readable(number, values)
                number += 1


READERS: dict[str, Callable[[fs.FileSystem, str], Iterator[Row]]] = {
    "csv": _read_csv,
    "jsonl": _read_jsonl,
    **{kind: partial(_read_typed, kind) for kind in OPENERS},
}
"""Kind of file (its suffix, before .gz or .zst) to the function that reads it: the one place to add a kind."""
