"""Sorts a journal, which is in the order in which answers finished, into the order of the batch file.

An external merge sort: each piece of the journal is sorted and written to a scratch folder, and the pieces
are merged. Memory is one piece while they are written, then 256 answers of each of at most 64 pieces, however
long the journal is.
"""

import heapq
import shutil
from collections.abc import Iterable, Iterator
from itertools import islice
from operator import itemgetter
from pathlib import Path

import numpy as np
import pyarrow as pa

from xpoll.core.files import cannot_write
from xpoll.core.records import COMPLETION_SCHEMA, Completion, from_table, to_table
from xpoll.engine.batch.survey import Survey
from xpoll.engine.journal.answers import read_batches

PIECE_ROWS = 32_768
BATCH_ROWS = 256
MERGED_AT_ONCE = 64

_SCHEMA = COMPLETION_SCHEMA.append(pa.field("number", pa.int64()))

Numbered = tuple[int, int, Completion]
"""Line number, sample, and the answer."""


def in_input_order(completions: Path, survey: Survey, scratch: Path) -> Iterator[tuple[int, Completion]]:
    """Every answer of a finished run with its line number, sorted by line and then by sample.

    Args:
        completions: completions/ of the run folder.
        survey: Maps ids to line numbers.
        scratch: Folder to sort in; removed at the end.

    Raises:
        RunFolderError: the scratch folder cannot be written.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        scratch.mkdir(parents=True)
        pieces = list(_sorted_pieces(completions, survey, scratch))
        while len(pieces) > MERGED_AT_ONCE:
            merged = scratch / f"{pieces[0].stem}-merged.arrows"
            _write(merged, _merged(pieces[:MERGED_AT_ONCE]))
            for piece in pieces[:MERGED_AT_ONCE]:
                piece.unlink()
            pieces = [*pieces[MERGED_AT_ONCE:], merged]
    except OSError as error:
        raise cannot_write(scratch, error) from error
    yield from ((number, answer) for number, _, answer in _merged(pieces))
    shutil.rmtree(scratch, ignore_errors=True)


def _sorted_pieces(completions: Path, survey: Survey, scratch: Path) -> Iterator[Path]:
    for i, batch in enumerate(_pieces(completions)):
        numbers = survey.numbers_of(batch.column("document_id").to_pylist())
        table = (
            pa.Table.from_batches([batch])
            .select(COMPLETION_SCHEMA.names)
            .append_column(_SCHEMA.field("number"), pa.array(numbers))
        )
        order = np.lexsort((batch.column("sample").to_numpy(), numbers))
        piece = scratch / f"{i:06d}.arrows"
        with pa.OSFile(str(piece), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table.take(order), max_chunksize=BATCH_ROWS)
        yield piece


def _pieces(completions: Path) -> Iterator[pa.RecordBatch]:
    """The answers in batches of PIECE_ROWS or a few more, however small those on disk are."""
    held: list[pa.RecordBatch] = []
    for batch in read_batches(completions):
        held.append(batch)
        if sum(each.num_rows for each in held) >= PIECE_ROWS:
            yield pa.concat_batches(held)
            held = []
    if held:
        yield pa.concat_batches(held)


def _merged(pieces: list[Path]) -> Iterator[Numbered]:
    return heapq.merge(*map(_read, pieces), key=itemgetter(0, 1))


def _read(piece: Path) -> Iterator[Numbered]:
    with pa.OSFile(str(piece)) as file, pa.ipc.open_stream(file) as reader:
        for batch in reader:
            answers = from_table(pa.Table.from_batches([batch]), Completion)
            numbers = batch.column("number").to_pylist()
            yield from ((number, answer.sample, answer) for number, answer in zip(numbers, answers, strict=True))


def _write(piece: Path, answers: Iterable[Numbered]) -> None:
    left = iter(answers)
    with pa.OSFile(str(piece), "wb") as file, pa.ipc.new_stream(file, _SCHEMA) as writer:
        while chunk := list(islice(left, BATCH_ROWS)):
            table = to_table([answer for _, _, answer in chunk], COMPLETION_SCHEMA)
            numbers = pa.array([number for number, _, _ in chunk], pa.int64())
            writer.write_table(table.append_column(_SCHEMA.field("number"), numbers))
