"""Writes predicted rows as CSV, JSONL or Parquet, batch by batch.

Every kind has the input's columns, then what the student says and `error`: of one label per text label, confidence
and probability_LABEL; of a set labels and probability_LABEL; of spans the list of them. An input column that bears one
of these names comes out as input_NAME. In CSV a list is written as JSON. Numbers that are written as text have six
decimals: the next one differs from machine to machine.
"""

import csv
import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from xpoll.core.spreadsheets import as_data_cell
from xpoll.core.tables.arrow import ArrowText
from xpoll.core.tables.readers import column_types


class ResultRow(NamedTuple):
    """An input row's values with what the student says; label, confidence and probabilities are None with `error`."""

    values: dict[str, Any]
    label: str | None
    confidence: float | None
    probabilities: Sequence[float | None]
    error: str | None
    extra: Sequence[str | None] = ()
    """Values of the columns that `Columns` was given as `extra`."""

    def added(self) -> list[Any]:
        """The values of the added columns, in their order."""
        return [self.label, self.confidence, *self.probabilities, self.error, *self.extra]


class AnsweredRow(NamedTuple):
    """An input row's values with the cells of the added columns; with `error` the cells are None."""

    values: dict[str, Any]
    cells: Sequence[Any]
    error: str | None

    def added(self) -> list[Any]:
        """The values of the added columns, in their order."""
        return [*self.cells, self.error]


AnyRow = ResultRow | AnsweredRow

DECIMALS = 6
"""Of numbers that are written as text."""

_SPAN = [("start", pa.int32()), ("end", pa.int32()), ("label", pa.string()), ("text", pa.string())]
_TYPES: dict[str, pa.DataType] = {
    "word": pa.string(),
    "number": pa.float32(),
    "labels": pa.list_(pa.string()),
    "spans": pa.list_(pa.struct([*_SPAN, ("probability", pa.float32())])),
}


class OutputColumn(NamedTuple):
    """A column that is added, and what its cells hold."""

    name: str
    holds: Literal["word", "number", "labels", "spans"] = "word"

    @property
    def arrow_type(self) -> pa.DataType:
        """The type of its cells."""
        return _TYPES[self.holds]


def label_columns(labels: Sequence[str]) -> list[OutputColumn]:
    """Those of a student of one label per text."""
    shares = [OutputColumn(f"probability_{label}", "number") for label in labels]
    return [OutputColumn("label"), OutputColumn("confidence", "number"), *shares]


class Columns:
    """The columns of an output: `names` maps each input column to its output name, `added` follow them.

    Args:
        source: What the rows are read from.
        columns: Its columns.
        answer: What the student says of a row.
        extra: Further columns, of words.
    """

    def __init__(
        self, source: str, columns: Sequence[str], answer: Sequence[OutputColumn], extra: Sequence[str] = ()
    ) -> None:
        self.source = source
        self.answer = [*answer, OutputColumn("error"), *map(OutputColumn, extra)]
        self.added = [column.name for column in self.answer]
        # Spark, SQL and spreadsheets do not tell Label from label.
        added = {name.casefold() for name in self.added}
        taken = {*added, *(column.casefold() for column in columns)}
        self.names: dict[str, str] = {}
        for column in columns:
            name = column
            while name.casefold() in added or (name != column and name.casefold() in taken):
                name = f"input_{name}"
            self.names[column] = name
            taken.add(name.casefold())

    @property
    def header(self) -> list[str]:
        """Names of the output's columns, in order."""
        return [*self.names.values(), *self.added]


Write = Callable[[Sequence[AnyRow]], None]


@contextmanager
def _csv_writer(path: Path, columns: Columns) -> Iterator[Write]:
    with path.open("w", encoding="utf-8", newline="", errors="backslashreplace") as file:
        rows = csv.writer(file)
        rows.writerow(map(as_data_cell, columns.header))

        def write(batch: Sequence[AnyRow]) -> None:
            for row in batch:
                given = [_text(row.values.get(column)) for column in columns.names]
                added = [cell if cell is None else _text(_rounded(cell)) for cell in row.added()]
                rows.writerow([as_data_cell(cell) if cell else cell for cell in (*given, *added)])

        yield write


@contextmanager
def _jsonl_writer(path: Path, columns: Columns) -> Iterator[Write]:
    # In JSON a backslash escape stands for the same character, so nothing that was read is lost.
    with path.open("w", encoding="utf-8", errors="backslashreplace") as file:

        def write(batch: Sequence[AnyRow]) -> None:
            for row in batch:
                values = {columns.names[column]: _json_value(value) for column, value in row.values.items()}
                values |= dict(zip(columns.added, map(_rounded, row.added()), strict=True))
                file.write(json.dumps(values, ensure_ascii=False, default=str) + "\n")

        yield write


@contextmanager
def _parquet_writer(path: Path, columns: Columns) -> Iterator[Write]:
    types = _input_types(columns)
    added = [column.arrow_type for column in columns.answer]
    schema = pa.schema(list(zip(columns.header, [*types.values(), *added], strict=True)))
    with pq.ParquetWriter(path, schema, compression="zstd") as file:

        def write(batch: Sequence[AnyRow]) -> None:
            cells = [[_typed(row.values.get(column), kind) for row in batch] for column, kind in types.items()] + [
                list(column) for column in zip(*(row.added() for row in batch), strict=True)
            ]
            arrays = [pa.array(values, field.type) for values, field in zip(cells, schema, strict=True)]
            file.write_table(pa.table(arrays, schema=schema))

        yield write


WRITERS: dict[str, Callable[[Path, Columns], AbstractContextManager[Write]]] = {
    "csv": _csv_writer,
    "jsonl": _jsonl_writer,
    "parquet": _parquet_writer,
}
"""Suffix of an output to its writer: the one place to add a kind."""


def _input_types(columns: Columns) -> dict[str, pa.DataType]:
    """The input's own types if its files say them, else strings."""
    types = column_types(columns.source, key="input")
    return {column: types.get(column, pa.string()) for column in columns.names}


def _typed(value: Any, kind: pa.DataType) -> Any:
    if isinstance(value, ArrowText):
        return value.scalar
    if kind != pa.string() or value is None:
        return value
    return _text(value).encode("utf-8", "backslashreplace")


def _text(value: Any) -> str:
    if value is None:
        return ""
    return json.dumps(value, default=str) if isinstance(value, dict | list | bool) else str(value)


def _rounded(cell: Any) -> Any:
    if isinstance(cell, list):
        return [_rounded(each) for each in cell]
    if isinstance(cell, dict):
        return {name: _rounded(value) for name, value in cell.items()}
    return round(cell, DECIMALS) if isinstance(cell, float) else cell


def _json_value(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
