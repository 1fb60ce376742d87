"""Records in the Parquet files of a run folder, read and written as they come."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from xpoll.core.errors import RunFolderError
from xpoll.core.files import replacing
from xpoll.core.records import Document, RecordT, from_table, to_table

ROWS_PER_GROUP = 65_536


def stream_records(path: Path, record: type[RecordT]) -> Iterator[RecordT]:
    """The rows of a Parquet file of a run as records; at most 8192 of them are in memory at a time.

    Raises:
        RunFolderError: the file cannot be read, or a page does not have its checksum.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for batch in file.iter_batches(batch_size=8192):
                yield from from_table(pa.Table.from_batches([batch]), record)
    except (OSError, pa.ArrowException) as error:
        again = f"xpoll vote {path.parent}" if record is not Document else f"delete it; then xpoll poll {path.parent}"
        raise RunFolderError(f"{path} cannot be read ({' '.join(str(error).split())[:120]})", mend=again) from error


def write_records(path: Path, records: Iterable[tuple[Any, ...]], schema: pa.Schema) -> None:
    """Writes records as Parquet, atomically and as they come: at most 65,536 of them are in memory at a time.

    Args:
        path: The file.
        records: Named tuples whose fields are the schema's columns, in their order.
        schema: That of the file.

    Raises:
        RunFolderError: it cannot be written.
        ArrowException: a value does not fit its column.
    """
    left = iter(records)
    with (
        replacing(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd", write_page_checksum=True) as file,
    ):
        while some := list(islice(left, ROWS_PER_GROUP)):
            file.write_table(to_table(some, schema))
