"""Write-ahead journal of answers: each is on disk before it counts, and answers on disk are not asked again.

    completions/journal-00003.arrows   answers in the order they finished, appended and fsynced
    completions/part-00002.parquet     a sealed journal, complete

A journal is sealed into the part of the same number, in a thread, while the next one grows. A process that is
killed leaves journals, the last one perhaps with a torn batch; opening the folder again keeps every complete
batch and drops the torn one, which was never counted.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from xpoll.core.errors import RunFolderError
from xpoll.core.files import cannot_write, write_table
from xpoll.core.records import COMPLETION_SCHEMA, Completion, Key, from_table


class Journal:
    """The answers of one run. One process at a time may have it open.

    Args:
        folder: completions/ of the run folder; created here.
        rows_per_part: Answers after which a journal is sealed into a part.

    Raises:
        RunFolderError: the folder cannot be written, or another process has it open.
    """

    def __init__(self, folder: Path, *, rows_per_part: int = 100_000) -> None:
        self._folder, self._rows_per_part = folder, rows_per_part
        self._file: Any = None
        self._rows = 0
        self._sealer = ThreadPoolExecutor(1, "seal")
        self._sealing: Future[None] | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(folder, error) from error
        self._lock = _lock(folder)
        for unfinished in folder.glob(".part-*.tmp"):  # of a process that was killed while it sealed
            unfinished.unlink()
        for leftover in sorted(folder.glob("journal-*.arrows")):
            _seal(leftover)
        self._number = 1 + max((_number(part) for part in parts(folder)), default=-1)

    def append(self, batches: Sequence[pa.RecordBatch]) -> None:
        """Makes answers durable with one fsync; they count once this returns.

        Args:
            batches: Arrow batches of COMPLETION_SCHEMA.

        Raises:
            RunFolderError: the disk is full or read-only, now or for the part before; earlier answers stay.
        """
        if not batches:
            return
        try:
            if self._file is None:
                self._open()
            for batch in batches:
                self._writer.write_batch(batch)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise cannot_write(self._path, error) from error
        self._rows += sum(batch.num_rows for batch in batches)
        if self._rows >= self._rows_per_part:
            self._close_part()

    def answers_of(self, document_ids: Sequence[str]) -> list[Completion]:
        """The answers on disk of a few documents; reads all parts, so only for rare events such as a dead worker.

        Raises:
            RunFolderError: sealing the part before has failed.
        """
        import pyarrow.compute as pc  # takes as long to import as the rest of pyarrow

        self._await_sealed()
        ids = pa.array(document_ids, pa.string())
        tables = [pq.read_table(part, filters=pc.field("document_id").isin(ids)) for part in parts(self._folder)]
        if self._file is not None and (batches := _whole_batches(self._path)):
            table = pa.Table.from_batches(batches)
            tables.append(table.filter(pc.is_in(table.column("document_id"), value_set=ids)))
        return [completion for table in tables for completion in from_table(table, Completion)]

    def _open(self) -> None:
        self._path = self._folder / f"journal-{self._number:05d}.arrows"
        self._file = self._path.open("wb")
        self._writer = pa.ipc.new_stream(self._file, COMPLETION_SCHEMA)

    def _close_part(self) -> None:
        if self._file is not None:
            self._writer.close()
            self._file.close()
            self._file = None
            self._await_sealed()
            self._sealing = self._sealer.submit(_seal, self._path)
            self._rows, self._number = 0, self._number + 1

    def _await_sealed(self) -> None:
        """Waits for the part being sealed; raises the error if sealing failed."""
        if self._sealing is not None:
            self._sealing.result()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._close_part()
                self._await_sealed()
            elif self._file is not None:
                # The journal stays unsealed: sealing needs space, and the disk may be what failed.
                with suppress(OSError):
                    self._file.close()
        finally:
            self._sealer.shutdown()
            os.close(self._lock)


def _lock(folder: Path) -> int:
    """Locks the folder until the descriptor is closed; the kernel releases it if the process is killed."""
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise RunFolderError(
            f"{folder.parent} is in use by another xpoll", mend=f"wait for it: xpoll status {folder.parent}"
        ) from error
    return descriptor


def parts(folder: Path) -> list[Path]:
    """Paths of the sealed parts, in the order they were written."""
    return sorted(folder.glob("part-*.parquet"))


def read_completions(folder: Path) -> Iterator[Completion]:
    """All sealed answers of a run, part by part."""
    for part in parts(folder):
        for batch in pq.ParquetFile(part).iter_batches(batch_size=8192):
            yield from from_table(pa.Table.from_batches([batch]), Completion)


def count_answers(folder: Path) -> int:
    """Number of answers on disk, those of an open or abandoned journal included; read-only."""
    sealed: int = sum(pq.ParquetFile(part).metadata.num_rows for part in parts(folder))
    return sealed + sum(int(batch.num_rows) for batch in _unsealed(folder))


def keys_on_disk(folder: Path) -> list[Key]:
    """Keys of all answers on disk, in the order they finished; read-only, as `count_answers`."""
    columns = list(Key._fields)
    tables = [pq.read_table(part, columns=columns) for part in parts(folder)]
    tables += [pa.Table.from_batches([batch]).select(columns) for batch in _unsealed(folder)]
    return [Key(*key) for table in tables for key in zip(*(table[name].to_pylist() for name in columns), strict=True)]


def _unsealed(folder: Path) -> Iterator[pa.RecordBatch]:
    """The batches of journals that are not sealed into a part."""
    for path in sorted(folder.glob("journal-*.arrows")):
        if not _part_of(path).exists():
            yield from _whole_batches(path)


def _seal(path: Path) -> None:
    """Journal to part. If the process is killed in between, the next call finds the part and removes the journal."""
    part = _part_of(path)
    if not part.exists():
        batches = _whole_batches(path)
        if batches:
            write_table(part, pa.Table.from_batches(batches))
    path.unlink()


def _part_of(journal: Path) -> Path:
    return journal.with_name(f"part-{_number(journal):05d}.parquet")


def _whole_batches(path: Path) -> list[pa.RecordBatch]:
    batches: list[pa.RecordBatch] = []
    try:
        with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file) as reader:
            for batch in reader:
                batches.append(batch)  # one by one: the batches before a torn end are kept
    except (pa.ArrowInvalid, OSError):  # torn at the end, or nothing was written
        pass
    return batches


def _number(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])
