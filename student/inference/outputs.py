"""Writes predicted rows as CSV, JSONL or Parquet, batch by batch.

Every kind has the input's columns, then label, confidence, probability_LABEL and error. An input
column that bears one of these names comes out as input_NAME.
"""

import csv
import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

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


class Columns:
    """The columns of an output: `names` maps each input column to its output name, `added` follow them."""

    def __init__(self, source: str, columns: Sequence[str], labels: Sequence[str], extra: Sequence[str] = ()) -> None:
        self.source = source
        self.added = ["label", "confidence", *(f"probability_{label}" for label in labels), "error", *extra]
        self.num_numbers = 1 + len(labels)
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


Write = Callable[[list[ResultRow]], None]


@contextmanager
def _csv_writer(path: Path, columns: Columns) -> Iterator[Write]:
    with path.open("w", encoding="utf-8", newline="", errors="backslashreplace") as file:
        rows = csv.writer(file)
        rows.writerow(map(as_data_cell, columns.header))

        def write(batch: list[ResultRow]) -> None:
            for row in batch:
                given = [_text(row.values.get(column)) for column in columns.names]
                added = [cell if cell is None else _text(cell) for cell in row.added()]
                rows.writerow([as_data_cell(cell) if cell else cell for cell in (*given, *added)])

        yield write


@contextmanager
def _jsonl_writer(path: Path, columns: Columns) -> Iterator[Write]:
    # In JSON a backslash escape stands for the same character, so nothing that was read is lost.
    with path.open("w", encoding="utf-8", errors="backslashreplace") as file:

        def write(batch: list[ResultRow]) -> None:
            for row in batch:
                values = {columns.names[column]: _json_value(value) for column, value in row.values.items()}
                values |= dict(zip(columns.added, row.added(), strict=True))
                file.write(json.dumps(values, ensure_ascii=False, default=str) + "\n")

        yield write


@contextmanager
def _parquet_writer(path: Path, columns: Columns) -> Iterator[Write]:
    types = _input_types(columns)
    num_words = len(columns.added) - 1 - columns.num_numbers
    added = [pa.string(), *[pa.float32()] * columns.num_numbers, *[pa.string()] * num_words]
    schema = pa.schema(list(zip(columns.header, [*types.values(), *added], strict=True)))
    with pq.ParquetWriter(path, schema, compression="zstd") as file:

        def write(batch: list[ResultRow]) -> None:
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


def _json_value(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
