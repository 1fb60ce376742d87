"""Write-ahead journal of answers: each is on disk before it counts, and answers on disk are not asked again.

    completions/journal-00003.arrows   answers in the order they finished, appended and fsynced, each append a frame
    completions/part-00002.parquet     a sealed journal, complete
    completions/sealed.jsonl           rows and checksum of each part

A journal is sealed into the part of the same number, in a thread, while the next one grows. A process that is
killed leaves journals, the last one perhaps with a torn frame; opening the folder again keeps every whole frame and
drops the torn one, which was never counted. A file that is damaged is set aside under another name, and said.
"""

import fcntl
import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa

from xpoll.core.errors import RunFolderError
from xpoll.core.files import cannot_write, sync_folder
from xpoll.core.formatting import counted
from xpoll.core.progress import say
from xpoll.core.records import Completion, from_table
from xpoll.engine.journal.answers import (
    UNFRAMED,
    AnswerFile,
    batches_of,
    journal_batches,
    journal_state,
    journals_of,
    number_of,
    part_of,
    problem_of,
    take_inventory,
)
from xpoll.engine.journal.frames import framed, new_mark
from xpoll.engine.journal.sealed import Seal, parts, read_seals, seal_of, write_part, write_seals

DAMAGED = ".damaged"
"""What the name of a file ends with that was set aside."""


class Journal:
    """The answers of one run. One process at a time may have it open.

    Attributes:
        lost: Answers of damaged or missing files, as far as their number is known; it was said when it was opened.

    Args:
        folder: completions/ of the run folder; created here.
        rows_per_part: Answers after which a journal is sealed into a part.

    Raises:
        RunFolderError: the folder cannot be written, another process has it open, or it holds a journal of a version
            whose journals have no checksums.
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
        try:
            self.lost = _tidy(folder)
        except BaseException as error:
            os.close(self._lock)
            if isinstance(error, OSError):
                raise cannot_write(folder, error) from error
            raise
        self._number = 1 + max(map(number_of, folder.iterdir()), default=-1)

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
            for piece in framed(batches, mark=self._mark, rows_before=self._rows):
                self._file.write(piece)
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
            RunFolderError: sealing the part before has failed, or a part is damaged.
        """
        import pyarrow.compute as pc  # takes as long to import as the rest of pyarrow

        self._await_sealed()
        ids = pa.array(document_ids, pa.string())
        found: list[Completion] = []
        for path in [*parts(self._folder), *([self._path] if self._file is not None else [])]:
            for batch in batches_of(path):
                kept = batch.filter(pc.is_in(batch.column("document_id"), value_set=ids))
                found += from_table(pa.Table.from_batches([kept]), Completion)
        return found

    def _open(self) -> None:
        self._path = self._folder / f"journal-{self._number:05d}.arrows"
        self._file = self._path.open("wb")
        self._mark = new_mark()
        sync_folder(self._folder)

    def _close_part(self) -> None:
        if self._file is not None:
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


def _tidy(folder: Path) -> int:
    """Seals the journals that an earlier process left, and sets aside what is damaged; says what is asked again.

    Returns:
        How many answers are lost, as far as that is known.

    Raises:
        RunFolderError: the folder cannot be read or written, or a journal has no checksums.
    """
    for unfinished in folder.glob(".*.tmp"):  # of a process that was killed while it sealed
        unfinished.unlink()
    found = take_inventory(folder)
    for file in found.files:
        if file.problem == UNFRAMED or (file.path.exists() and not os.access(file.path, os.R_OK)):
            raise problem_of(folder, file)
    for file in found.files:
        if line := _dropped(file):
            say(line)
    files = [file for file in found.files if file.is_part]
    for file in files:
        if file.problem is not None:
            _set_aside(file.path)
    whole = [file.path for file in files if file.problem is None]
    seals = read_seals(folder)
    if {path.name for path in whole} != seals.keys():
        write_seals(folder, [seals.get(path.name) or seal_of(path) for path in whole])
    for journal in journals_of(folder):
        if part_of(journal) in whole:  # killed between the part and the end of its journal
            _remove(journal)
        else:
            _seal(journal)
    return sum(file.lost or 0 for file in found.files)


def _dropped(file: AnswerFile) -> str | None:
    """What is said of a file that is not whole; None of one that is."""
    if file.problem is not None:
        lost = "what it held" if file.lost is None else counted(file.lost, "answer")
        return f"{file.path} {file.problem}; {lost} will be asked again"
    if file.torn_bytes:
        return f"{file.path}: its last {file.torn_bytes:,} bytes are no whole append, and are dropped"
    return None


def _seal(path: Path) -> None:
    """Journal to part; the journal is removed once the part and its checksum are on disk, or set aside if damaged.

    If the process is killed in between, the next one begins anew from the journal.

    Raises:
        RunFolderError: the part cannot be written.
    """
    if (seal := _written_part(path)) is not None:
        others = [each for each in read_seals(path.parent).values() if each.part != seal.part]
        write_seals(path.parent, [*others, seal])
    _remove(path)  # which reads the journal once more: what was read of it for the part is free by now


def _written_part(journal: Path) -> Seal | None:
    batches = journal_batches(journal)
    return write_part(part_of(journal), pa.Table.from_batches(batches)) if batches else None


def _remove(journal: Path) -> None:
    """Removes a journal whose whole frames are sealed; one that is damaged besides is kept under another name."""
    if journal_state(journal).problem is None:
        journal.unlink()
    else:
        _set_aside(journal)


def _set_aside(path: Path) -> None:
    if path.exists():
        names = (f"{path.name}{DAMAGED}{number or ''}" for number in count())
        path.rename(next(free for name in names if not (free := path.with_name(name)).exists()))
