"""Reads Parquet and Arrow IPC files batch by batch, as plain values.

Files of the Hugging Face `datasets` library are read with their features: a ClassLabel column, integers
whose names are in the file's metadata or in a dataset_info.json next to it, becomes label names.
Dictionary-encoded columns become their values. Of a Parquet file whose metadata names a column under KEPT_WITHOUT, as
synthesized.parquet does, rows that have a value there are left out.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

BATCH_ROWS = 4096
KEPT_WITHOUT = b"xpoll.kept_without"
"""Key of a schema's metadata: the column in which rows that are not to be read have a value."""
DENSE_BYTES = 2**20
DENSEST = 1000
"""How much smaller no text becomes by being compressed; zstd makes log files 20 to 50 times smaller."""
MANY_VALUES = 2**24
"""Values of the lists of a chunk: repeated ones take no bytes, so that a row of a kilobyte can have any number."""


class ArrowFile(NamedTuple):
    """An open file, valid inside the block that opened it.

    Attributes:
        schema: That of the plain values; in the batches, a column that is stored as a dictionary still is one.
        batches: Of up to 4096 rows each, read when they are needed.
    """

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]


@contextmanager
def open_parquet(filesystem: fs.FileSystem, path: str) -> Iterator[ArrowFile]:
    """Opens a Parquet file; one row group of it is in memory at a time.

    Raises:
        OSError: the file cannot be opened.
        ArrowException: it is not Parquet, or, while batches are read, it is damaged.
    """
    with filesystem.open_input_file(path) as file:
        parquet = pq.ParquetFile(file)
        if shared := _shared_texts(parquet):
            parquet = pq.ParquetFile(file, read_dictionary=shared)
        schema, batches = parquet.schema_arrow, parquet.iter_batches(batch_size=BATCH_ROWS)
        yield _plain(schema, _kept(batches, left_out) if (left_out := problem_column(schema)) else batches, {})


def problem_column(schema: pa.Schema) -> str | None:
    """The column in which rows that are to be left out have a value; None where all rows are to be read."""
    name = (schema.metadata or {}).get(KEPT_WITHOUT, b"").decode(errors="replace")
    return name if name in schema.names else None


def _kept(batches: Iterator[pa.RecordBatch], left_out: str) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield batch.filter(batch.column(left_out).is_null())


def _shared_texts(parquet: pq.ParquetFile) -> list[str]:
    """The columns of text to read with each value once: a chunk of some hundred bytes can name megabytes in each row.

    Only in chunks of less than DENSE_BYTES with room for such a value: it costs time to look for equal texts.

    Raises:
        OSError: a chunk is so dense that it is made to fill the memory.
    """
    texts = {field.name for field in parquet.schema_arrow if _is_text(field.type)}
    columns = map(parquet.schema.column, range(len(parquet.schema)))
    lists = {column.path for column in columns if column.max_repetition_level}
    shared = set()
    for i in range(parquet.metadata.num_row_groups):
        group = parquet.metadata.row_group(i)
        for chunk in map(group.column, range(group.num_columns)):
            full, packed, name = chunk.total_uncompressed_size, chunk.total_compressed_size, chunk.path_in_schema
            if name in lists and chunk.num_values > max(DENSEST * packed, MANY_VALUES):
                raise OSError(f"its lists {name!r} have {chunk.num_values} values in {packed} bytes, which no list has")
            if full > max(DENSEST * packed, DENSE_BYTES * 64):
                raise OSError(f"its column {name!r} has {full} bytes in {packed}, which no text has")
            named = any("DICTIONARY" in encoding for encoding in chunk.encodings)
            if name in texts and named and packed < DENSE_BYTES < full * 8:
                shared.add(name)
    return sorted(shared)


def _is_text(kind: pa.DataType) -> bool:
    return any(is_kind(kind) for is_kind in (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary))


@contextmanager
def open_arrow(filesystem: fs.FileSystem, path: str) -> Iterator[ArrowFile]:
    """Opens an Arrow IPC file of either form: the stream that `save_to_disk` writes, or the one with a footer.

    Raises:
        OSError: the file cannot be opened.
        ArrowException: it is not Arrow IPC, or, while batches are read, it is damaged.
        ValueError: the dataset_info.json next to it is not JSON.
    """
    with filesystem.open_input_file(path) as file:
        with_footer = file.read(6) == b"ARROW1"
        file.seek(0)
        if with_footer:
            reader = pa.ipc.open_file(file)
            batches = (reader.get_batch(i) for i in range(reader.num_record_batches))
        else:
            reader = pa.ipc.open_stream(file)
            batches = iter(reader)
        yield _plain(reader.schema, _sliced(map(_within_bounds, batches)), _saved_class_labels(filesystem, path))


def _within_bounds(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch, once no offset in it points elsewhere: IPC files have no checksum, and Arrow would follow it.

    Raises:
        ArrowInvalid: one does.
    """
    for column in batch.columns:
        kind = column.type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):  # bytes that are no UTF-8 are their row's own
            column = column.view(pa.binary() if pa.types.is_string(kind) else pa.large_binary())
        column.validate(full=True)
    return batch


OPENERS: dict[str, Callable[[fs.FileSystem, str], AbstractContextManager[ArrowFile]]] = {
    "parquet": open_parquet,
    "arrow": open_arrow,
}
"""Kind of file to the function that opens it."""


class ArrowText(str):
    """What Arrow holds and Python cannot, as text: dates after year 9999, nanoseconds, broken UTF-8 in lists.

    Attributes:
        scalar: The value itself, for files that can hold it.
    """

    __slots__ = ("scalar",)
    scalar: pa.Scalar

    def __new__(cls, scalar: pa.Scalar) -> "ArrowText":
        """The text of a value: its ISO form if it is a date or a time, else its type."""
        try:
            text = scalar.cast(pa.string()).as_py()
        except (pa.ArrowException, ValueError):
            text = f"({scalar.type} that cannot be shown)"
        made = super().__new__(cls, text)
        made.scalar = scalar
        return made


def rows_of(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """The rows of a batch as column name to plain value.

    Bytes that are not UTF-8 become lone surrogates; a value that Python cannot hold becomes `ArrowText`, and touches
    no other one.
    """
    columns = map(_cells, batch.columns)
    return [dict(zip(batch.schema.names, cells, strict=True)) for cells in zip(*columns, strict=True)]


def _cells(column: pa.Array) -> list[Any]:
    kind = column.type
    if pa.types.is_dictionary(kind):  # each value becomes one object, however many rows have it
        numbers = column.indices.to_pylist()
        used = sorted({number for number in numbers if number is not None})  # the dictionary is that of all batches
        values = dict(zip(used, _cells(column.dictionary.take(pa.array(used, pa.int64()))), strict=True))
        return [None if number is None else values[number] for number in numbers]
    if pa.types.is_time64(kind) and kind.unit == "ns":  # Python's times drop nanoseconds without a word
        return [_value(cell) for cell in column]
    try:
        return column.to_pylist()  # type: ignore[no-any-return]
    except UnicodeDecodeError:
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            cells = column.cast(pa.large_binary()).to_pylist()
            return [None if cell is None else cell.decode("utf-8", "surrogateescape") for cell in cells]
        return [_value(cell) for cell in column]
    except (OverflowError, ValueError):
        return [_value(cell) for cell in column]


def _value(cell: pa.Scalar) -> Any:
    if pa.types.is_time64(cell.type) and cell.is_valid and cell.value % 1000:
        return ArrowText(cell)
    try:
        return cell.as_py()
    except (OverflowError, ValueError):
        return ArrowText(cell)


def _sliced(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for start in range(0, batch.num_rows, BATCH_ROWS):
            yield batch.slice(start, BATCH_ROWS)


def _plain(schema: pa.Schema, batches: Iterator[pa.RecordBatch], saved: dict[str, list[str]]) -> ArrowFile:
    label_names = {**_class_labels(_metadata(schema)), **saved}
    fields = [pa.field(field.name, _plain_type(field, label_names)) for field in schema]
    if fields == list(schema):
        return ArrowFile(schema, batches)
    plain = pa.schema(fields)

    def decoded() -> Iterator[pa.RecordBatch]:
        for batch in batches:
            columns = [_decoded(batch.column(i), field, label_names) for i, field in enumerate(schema)]
            yield pa.RecordBatch.from_arrays(columns, names=schema.names)

    return ArrowFile(plain, decoded())


def _plain_type(field: pa.Field, label_names: dict[str, list[str]]) -> pa.DataType:
    if pa.types.is_dictionary(field.type):
        return field.type.value_type
    return pa.string() if _is_class_label(field, label_names) else field.type


def _is_class_label(field: pa.Field, label_names: dict[str, list[str]]) -> bool:
    return field.name in label_names and pa.types.is_integer(field.type)


def _decoded(column: pa.Array, field: pa.Field, label_names: dict[str, list[str]]) -> pa.Array:
    if not _is_class_label(field, label_names):
        return column
    import pyarrow.compute as pc  # takes as long to load as the rest of pyarrow, and few files need it

    names = label_names[field.name]
    has_name = pc.and_(pc.greater_equal(column, 0), pc.less(column, len(names)))  # -1 means "not known"
    return pa.array(names, pa.string()).take(pc.if_else(has_name, column, pa.scalar(None, column.type)))


def _metadata(schema: pa.Schema) -> dict[str, Any]:
    try:
        info = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return {}
    return info if isinstance(info, dict) else {}


def _saved_class_labels(filesystem: fs.FileSystem, path: str) -> dict[str, list[str]]:
    folder, slash, _ = path.rpartition("/")
    beside = f"{folder}{slash}dataset_info.json"
    if filesystem.get_file_info(beside).type != fs.FileType.File:
        return {}
    with filesystem.open_input_stream(beside) as file:
        info = json.load(file)
    return _class_labels(info) if isinstance(info, dict) else {}


def _class_labels(info: dict[str, Any]) -> dict[str, list[str]]:
    """Columns of the type ClassLabel and the names of their integers."""
    features = info.get("features")
    if not isinstance(features, dict):
        return {}
    return {
        column: list(map(str, names))
        for column, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        if isinstance(names := feature.get("names"), list) and names
    }
