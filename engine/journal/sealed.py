"""Sealed parts, and sealed.jsonl beside them: what each part held when it was written, with a checksum of the file.

A line of sealed.jsonl has `part` (the file's name), `rows`, `bytes`, `crc32` (of the file), and `line_crc32` (of the
line's other values). So a part that is missing, cut or changed is known before Parquet reads a byte of it. A part
without a line, as earlier versions wrote them, is held against its own page checksums, where it has any.
"""

import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from xpoll.core.files import json_value, replacing, write_text

READ_BYTES = 2**20
BATCH_ROWS = 8192


class Seal(NamedTuple):
    """What a part held when it was written."""

    part: str
    rows: int
    bytes: int
    crc32: int


class PartState(NamedTuple):
    """A part as it is: `rows` that can be read, and the `problem` where it is not what was written."""

    path: Path
    rows: int
    problem: str | None = None


def parts(folder: Path) -> list[Path]:
    """Paths of the sealed parts, in the order they were written."""
    return sorted(folder.glob("part-[0-9]*.parquet"))


def read_seals(folder: Path) -> dict[str, Seal]:
    """The seals of a folder by the names of their parts; a line that is damaged is passed over."""
    try:
        content = _path(folder).read_bytes()
    except FileNotFoundError:
        return {}
    seals = (_seal_in(line) for line in content.splitlines())
    return {seal.part: seal for seal in seals if seal is not None}


def write_seals(folder: Path, seals: Iterable[Seal]) -> None:
    """Writes sealed.jsonl anew.

    Raises:
        RunFolderError: it cannot be written.
    """
    lines = (json.dumps(seal._asdict() | {"line_crc32": _line_crc32(seal)}) + "\n" for seal in sorted(seals))
    write_text(_path(folder), "".join(lines))


def write_part(path: Path, table: pa.Table) -> Seal:
    """Writes a part, with checksums of its pages; returns its seal, once what was written has been read again.

    Raises:
        RunFolderError: it cannot be written.
        OSError: it does not have the table's rows.
    """
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)
        seal = seal_of(temporary)._replace(part=path.name)
        if seal.rows != table.num_rows:
            raise OSError(f"{seal.rows} of {table.num_rows} answers are in it")
    return seal


def seal_of(path: Path) -> Seal:
    """The seal of a part as it is.

    Raises:
        OSError: it cannot be read.
        ArrowException: it is not Parquet.
    """
    return Seal(path.name, int(pq.read_metadata(path).num_rows), *_checksum(path))


def part_state(path: Path, seal: Seal | None) -> PartState:
    """Reads a part and says whether it is what was written; of one without a seal, whether all of it can be read."""
    try:
        if seal is None:
            return PartState(path, sum(int(batch.num_rows) for batch in batches_of_part(path)))
        size, crc32 = _checksum(path)
    except (OSError, pa.ArrowException) as error:
        return PartState(path, 0, f"cannot be read ({reason_of(error)})")
    if size != seal.bytes:
        return PartState(path, 0, f"has {size:,} bytes where {seal.bytes:,} were written")
    if crc32 != seal.crc32:
        return PartState(path, 0, "is not what was written (its checksum differs)")
    return PartState(path, seal.rows)


def batches_of_part(path: Path, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """A part's rows, page by page held against their checksums.

    Raises:
        OSError: it cannot be read, or a page is damaged.
        ArrowException: it is not Parquet.
    """
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        known = None if columns is None else [name for name in columns if name in file.schema_arrow.names]
        yield from file.iter_batches(batch_size=BATCH_ROWS, columns=known)


def _path(folder: Path) -> Path:
    return folder / "sealed.jsonl"


def _seal_in(line: bytes) -> Seal | None:
    try:
        values = json_value(line)
        seal = Seal(*(values[name] for name in Seal._fields))
        return seal if values["line_crc32"] == _line_crc32(seal) else None
    except (ValueError, TypeError, KeyError):
        return None


def _line_crc32(seal: Seal) -> int:
    return zlib.crc32(json.dumps(list(seal)).encode())


def _checksum(path: Path) -> tuple[int, int]:
    """Number of bytes, and their crc32."""
    size = crc32 = 0
    with path.open("rb") as file:
        while chunk := file.read(READ_BYTES):
            size, crc32 = size + len(chunk), zlib.crc32(chunk, crc32)
    return size, crc32


def reason_of(error: Exception) -> str:
    """Why a file cannot be read, short and in one line."""
    strerror = getattr(error, "strerror", None)
    return strerror or " ".join(str(error).split())[:120]
