"""The frames of a journal: one per append, with its length, rows and checksum, verified before Arrow reads it.

    frame     header, payload
    header    magic, mark (8 bytes), bytes of the payload (u64), rows in it (u32), rows before it in this file (u32),
              crc32 of the other fields and the payload (u32); little-endian
    payload   an Arrow IPC stream: schema and batches

The mark is drawn anew for each file and is the same in all of its frames, so that no answer can hold what passes for a
frame. The rows before say how many are lost where frames are missing or damaged; those behind are found by the magic.
"""

import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pyarrow as pa

from xpoll.core.records import COMPLETION_SCHEMA

MAGIC = b"XPF1"
MARK_BYTES = 8
_FIELDS = struct.Struct("<4s8sQII")
_CRC = struct.Struct("<I")
_HEADER_BYTES = _FIELDS.size + _CRC.size
_STREAM_WITHOUT_FRAMES = b"\xff\xff\xff\xff"  # what an Arrow IPC stream begins with, as journals did before frames


class Gap(NamedTuple):
    """Bytes in the middle of a journal that are no frame: where they begin, how many, and the rows lost with them."""

    offset: int
    bytes: int
    rows: int


class Frames(NamedTuple):
    """What a journal's bytes hold.

    Attributes:
        spans: Begin and end of each whole payload, in order.
        rows: Rows in them.
        gaps: Damage with whole frames behind it.
        torn_bytes: Bytes behind the last whole frame: an append that was never counted, or damage at the end.
        unframed: Whether it is a journal of a version that wrote no frames; nothing of it is read then.
    """

    spans: list[tuple[int, int]]
    rows: int
    gaps: list[Gap]
    torn_bytes: int
    unframed: bool = False


class _Frame(NamedTuple):
    mark: bytes
    rows: int
    rows_before: int
    begin: int
    end: int


def new_mark() -> bytes:
    """The mark of a new file."""
    return os.urandom(MARK_BYTES)


def framed(batches: Sequence[pa.RecordBatch], *, mark: bytes, rows_before: int) -> list[bytes | pa.Buffer]:
    """An append as the pieces to write, one after the other.

    Args:
        batches: Arrow batches of COMPLETION_SCHEMA.
        mark: That of the file.
        rows_before: Rows that the file holds already.
    """
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, COMPLETION_SCHEMA) as writer:
        for batch in batches:
            writer.write_batch(batch)
    payload = sink.getvalue()
    fields = _FIELDS.pack(MAGIC, mark, payload.size, sum(batch.num_rows for batch in batches), rows_before)
    return [fields, _CRC.pack(zlib.crc32(payload, zlib.crc32(fields))), payload]


def find_frames(content: bytes) -> Frames:
    """The whole frames of a journal, and what is damaged. Nothing of a frame is decoded; any bytes may be given."""
    if content.startswith(_STREAM_WITHOUT_FRAMES):
        return Frames([], 0, [], 0, unframed=True)
    spans: list[tuple[int, int]] = []
    gaps: list[Gap] = []
    rows = rows_whole = offset = 0
    mark: bytes | None = None
    while (frame := _next_frame(content, offset, mark, rows)) is not None:
        begin = frame.begin - _HEADER_BYTES
        if begin > offset or frame.rows_before > rows:
            gaps.append(Gap(offset, begin - offset, frame.rows_before - rows))
        spans.append((frame.begin, frame.end))
        rows_whole += frame.rows
        mark, rows, offset = frame.mark, frame.rows_before + frame.rows, frame.end
    return Frames(spans, rows_whole, gaps, len(content) - offset)


def batches_in(content: bytes, spans: Sequence[tuple[int, int]]) -> Iterator[pa.RecordBatch]:
    """The batches of payloads that `find_frames` found whole."""
    view = memoryview(content)
    for begin, end in spans:
        with pa.ipc.open_stream(pa.py_buffer(view[begin:end])) as reader:
            yield from reader


def _next_frame(content: bytes, offset: int, mark: bytes | None, rows: int) -> _Frame | None:
    """The first whole frame at or behind `offset` that can follow `rows` rows of the file with this mark."""
    sought = MAGIC + (mark or b"")
    while (offset := content.find(sought, offset)) >= 0:
        frame = _frame_at(content, offset)
        if frame is not None and frame.rows_before >= rows:
            return frame
        offset += 1
    return None


def _frame_at(content: bytes, offset: int) -> _Frame | None:
    begin = offset + _HEADER_BYTES
    if begin > len(content):
        return None
    _, mark, size, rows, rows_before = _FIELDS.unpack_from(content, offset)
    if size > len(content) - begin:
        return None
    (crc,) = _CRC.unpack_from(content, offset + _FIELDS.size)
    view = memoryview(content)
    fields, payload = view[offset : offset + _FIELDS.size], view[begin : begin + size]
    if zlib.crc32(payload, zlib.crc32(fields)) != crc:
        return None
    return _Frame(mark, rows, rows_before, begin, begin + size)
