"""Streams the rows of CSV, JSONL and Parquet files, local or on any file system pyarrow knows.

A row that cannot be read comes out as a row with a problem, in its place; its neighbours are not
touched. The file is never held whole.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from core.errors import InputError


class Row(NamedTuple):
    """One row of a file: its number from 0, and its values or the problem with it."""

    number: int
    values: dict[str, Any]
    problem: str | None = None


def stream_rows(path: str, *, key: str, needs: tuple[str, ...] = ()) -> Iterator[Row]:
    """The rows of a file in order.

    Args:
        path: Local path or a URI that pyarrow's file systems understand, e.g. s3://bucket/texts.parquet.
        key: Config key or argument that named the path, for errors.
        needs: Columns that must be there; looked for before the first row comes out.

    Raises:
        InputError: no such file, unknown kind of file, no rows, or a missing column.
    """
    suffix = _suffix(path)
    if suffix not in READERS:
        raise InputError(f"{key}: {path} is no {', '.join(sorted(READERS))} file", mend="convert it to one of these")
    try:
        filesystem, inner = fs.FileSystem.from_uri(path) if "://" in path else (fs.LocalFileSystem(), path)
        if filesystem.get_file_info(inner).type == fs.FileType.NotFound:
            raise InputError(f"{key}: {path} does not exist", mend=f"set {key} to a file that does")
        rows = READERS[suffix](filesystem, inner)
        first = next(rows, None)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"{key}: {path} cannot be read: {error}") from error
    if first is None:
        raise InputError(f"{key}: {path} has no rows", mend="give a file with at least one row below the header")
    missing = [column for column in needs if column not in first.values] if first.problem is None else []
    if missing:
        present = ", ".join(map(str, first.values)) or "none"
        raise InputError(
            f"{key}: {path} has no column {missing[0]!r}; its columns are: {present}",
            mend=f"set {key.rpartition('.')[0]}.{_KEY_OF_COLUMN}" if "." in key else "name it with --text-column",
        )
    return _chained(first, rows)


_KEY_OF_COLUMN = "text_column, id_column or label_column to one of them"


def count_rows(path: str, *, key: str) -> int:
    """Number of rows of a file; reads it once, except Parquet, which says so in its footer."""
    if _suffix(path) == "parquet" and "://" not in path:
        return int(pq.ParquetFile(path).metadata.num_rows)
    return sum(1 for _ in stream_rows(path, key=key))


def _chained(first: Row, rest: Iterator[Row]) -> Iterator[Row]:
    yield first
    yield from rest


def _suffix(path: str) -> str:
    name = PurePosixPath(path).name.lower()
    return name.removesuffix(".gz").removesuffix(".zst").rpartition(".")[2]


def _text(filesystem: fs.FileSystem, path: str) -> io.TextIOWrapper:
    # surrogateescape keeps bytes that are not UTF-8 apart, so that only their own row is refused.
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


def _replaced(text: str) -> str:
    # By way of UTF-16, which takes halves of surrogate pairs too: JSON can spell them out, as in "\ud83d".
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


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
            except (ValueError, RecursionError) as error:  # lists within lists, ten thousand deep, are no row either
                yield Row(number, {}, f"line is no JSON: {error}")
            else:
                good = isinstance(values, dict)
                yield _readable(number, values) if good else Row(number, {}, "line is no JSON object")
            number += 1


def _read_parquet(filesystem: fs.FileSystem, path: str) -> Iterator[Row]:
    with filesystem.open_input_file(path) as file:
        number = 0
        for batch in pq.ParquetFile(file).iter_batches(batch_size=4096):
            for values in batch.to_pylist():
                yield Row(number, values)
                number += 1


READERS: dict[str, Callable[[fs.FileSystem, str], Iterator[Row]]] = {
    "csv": _read_csv,
    "jsonl": _read_jsonl,
    "parquet": _read_parquet,
}
"""Kind of file (its suffix, before .gz or .zst) to reader: the one place to add a kind."""
