"""Records in the Parquet files of a run folder, read and written as they come."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from xpoll.core.errors import RunFolderError
from xpoll.core.files import replacing
from xpoll.core.records import Document, RecordT, from_table, to_table

ROWS_PER_GROUP = 65_536
CHARACTERS_PER_GROUP = 2**26
"""Characters of the texts of a group, beyond which it ends sooner: one small file can have a long text in every row."""


def stream_records(path: Path, record: type[RecordT]) -> Iterator[RecordT]:
    """The rows of a Parquet file of a run as records; at most 8192 of them, all of one group, are in memory at a time.

    Raises:
        RunFolderError: the file cannot be read, or a page does not have its checksum.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for group in range(file.num_row_groups):
                for batch in file.iter_batches(batch_size=8192, row_groups=[group]):
                    yield from from_table(pa.Table.from_batches([batch]), record)
    except (OSError, pa.ArrowException) as error:
        again = f"xpoll vote {path.parent}" if record is not Document else f"delete it; then xpoll poll {path.parent}"
        raise RunFolderError(f"{path} cannot be read ({' '.join(str(error).split())[:120]})", mend=again) from error


def write_records(path: Path, records: Iterable[tuple[Any, ...]], schema: pa.Schema) -> None:
    """Writes records as Parquet, atomically and as they come: 65,536 of them at most, fewer long ones, in memory.

    Args:
        path: The file.
        records: Named tuples whose fields are the schema's columns, in their order.
        schema: That of the file.

    Raises:
        RunFolderError: it cannot be written.
        ArrowException: a value does not fit its column.
    """
    with (
        replacing(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd", write_page_checksum=True) as file,
    ):
        for some in groups_of(records):
            file.write_table(to_table(some, schema))


def groups_of(records: Iterable[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    """The records in lists, each of which is a row group."""
    group: list[tuple[Any, ...]] = []
    characters = 0
    for record in records:
        group.append(record)
        characters += sum(len(cell) for cell in record if isinstance(cell, str))
        if len(group) == ROWS_PER_GROUP or characters > CHARACTERS_PER_GROUP:
            yield group
            group, characters = [], 0
    if group:
        yield group
