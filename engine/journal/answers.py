"""The answers on disk, of sealed parts and of journals that are not sealed: every reader of answers goes through here.

Nothing is read that is not whole. What is damaged or missing is a problem of its file: `take_inventory` lists them,
and readers refuse a folder that has any, in one line. The poll alone goes on: opening the journal sets damaged files
aside, and what they held is asked again.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from xpoll.core.errors import RunFolderError
from xpoll.core.formatting import counted
from xpoll.core.records import Completion, Key, from_table
from xpoll.core.run_folder import RunFolder
from xpoll.engine.journal.frames import batches_in, find_frames
from xpoll.engine.journal.sealed import PartState, Seal, batches_of_part, part_state, parts, read_seals, reason_of

UNFRAMED = "is a journal of an earlier xpoll, without checksums"


class AnswerFile(NamedTuple):
    """A part, or a journal that is not sealed.

    Attributes:
        path: The file; of a part that is missing, where it was.
        rows: Whole answers in it.
        lost: Answers that it held and that are lost; None where that is not known.
        problem: What is wrong with it, behind its name; None where it is whole.
        torn_bytes: Bytes at a journal's end that are no whole append.
    """

    path: Path
    rows: int
    lost: int | None = 0
    problem: str | None = None
    torn_bytes: int = 0

    @property
    def is_part(self) -> bool:
        """Whether it is a sealed part."""
        return self.path.suffix == ".parquet"


class Inventory(NamedTuple):
    """The files of answers of a folder, parts first, as each is."""

    files: list[AnswerFile]

    @property
    def rows(self) -> int:
        """Whole answers on disk."""
        return sum(file.rows for file in self.files)

    @property
    def damaged(self) -> list[AnswerFile]:
        """Files with a problem."""
        return [file for file in self.files if file.problem is not None]


def take_inventory(folder: Path) -> Inventory:
    """Reads every byte of a folder's answers once and says which of them are whole; read-only, also while a poll runs.

    Args:
        folder: completions/ of a run folder; it may be missing.
    """
    while True:
        try:
            return Inventory(list(_files(folder)))
        except FileNotFoundError:  # a poll sealed a journal, or set a file aside, since it was listed
            continue


def read_batches(folder: Path, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """All answers of a run as Arrow batches, file by file; nothing unless all that was written is whole.

    Args:
        folder: completions/ of a run folder.
        columns: Names of the columns wanted; all without it. One that an earlier version did not write is left out.

    Raises:
        RunFolderError: a file is missing or damaged; names it and the command that asks again what it held.
    """
    found = take_inventory(folder)
    refuse_damage(folder, found)
    yield from whole_batches(found, columns)


def whole_batches(found: Inventory, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The answers that are whole, also where others are damaged; for what tells of damage.

    Raises:
        RunFolderError: a file has changed since the inventory.
    """
    for file in found.files:
        if file.rows:
            yield from batches_of(file.path, columns)


def refuse_damage(folder: Path, found: Inventory) -> None:
    """Refuses a folder of which a file is missing or damaged.

    Raises:
        RunFolderError: names the first such file, and the command that asks again what it held.
    """
    if found.damaged:
        raise problem_of(folder, found.damaged[0])


def problem_of(folder: Path, file: AnswerFile) -> RunFolderError:
    """The error for a file that is missing or damaged, to raise."""
    mend = RunFolder(folder.parent).asks_again
    if file.problem == UNFRAMED:
        mend = f"{mend} with that version, or delete the file to have its answers asked again"
    return RunFolderError(f"{file.path} {file.problem}", mend=mend)


def batches_of(path: Path, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The answers of a part, or of the whole frames of a journal.

    Raises:
        RunFolderError: it cannot be read, or a page of a part is damaged.
    """
    try:
        if path.suffix == ".parquet":
            yield from batches_of_part(path, columns)
            return
        for batch in journal_batches(path):
            yield batch if columns is None else batch.select(columns)
    except (OSError, pa.ArrowException) as error:
        problem = f"cannot be read ({reason_of(error)})"
        raise problem_of(path.parent, AnswerFile(path, 0, None, problem)) from error


def read_completions(folder: Path) -> Iterator[Completion]:
    """All answers of a run, part by part, those of journals that are not sealed included.

    Raises:
        RunFolderError: a file is missing or damaged.
    """
    for batch in read_batches(folder):
        yield from from_table(pa.Table.from_batches([batch]), Completion)


def keys_on_disk(folder: Path) -> list[Key]:
    """Keys of all answers on disk, in the order they finished; read-only, as `take_inventory`.

    Raises:
        RunFolderError: a file is missing or damaged.
    """
    found = take_inventory(folder)
    refuse_damage(folder, found)
    return whole_keys(found)


def whole_keys(found: Inventory) -> list[Key]:
    """Keys of all answers that are whole, in the order they finished."""
    columns = list(Key._fields)
    return [
        Key(*key)
        for batch in whole_batches(found, columns)
        for key in zip(*(batch.column(name).to_pylist() for name in columns), strict=True)
    ]


def count_answers(folder: Path) -> int:
    """Number of whole answers on disk, as far as sizes and footers tell, without reading the parts; read-only."""
    while True:
        try:
            return _count(folder)
        except FileNotFoundError:  # as in `take_inventory`
            continue


def _count(folder: Path) -> int:
    journals = journals_of(folder)
    seals, rows = read_seals(folder), 0
    for part in parts(folder):
        seal = seals.get(part.name)
        if seal is not None and part.stat().st_size == seal.bytes:
            rows += seal.rows
            journals = [path for path in journals if path != journal_of(part)]
        elif seal is None and journal_of(part) not in journals:
            rows += part_state(part, None).rows
    return rows + sum(journal_state(path).rows for path in journals)


def journals_of(folder: Path) -> list[Path]:
    """Paths of the journals, in the order they were written."""
    return sorted(folder.glob("journal-[0-9]*.arrows"))


def number_of(path: Path) -> int:
    """The number in the name of a part or journal, set aside or not; -1 of any other file."""
    found = re.match(r"(?:part|journal)-(\d+)\.", path.name)
    return int(found[1]) if found else -1


def journal_of(part: Path) -> Path:
    """The journal that a part was sealed from."""
    return part.with_name(f"journal-{part.stem.rpartition('-')[2]}.arrows")


def part_of(journal: Path) -> Path:
    """The part that a journal is sealed into."""
    return journal.with_name(f"part-{journal.stem.rpartition('-')[2]}.parquet")


def _files(folder: Path) -> Iterator[AnswerFile]:
    # In the order in which a poll changes them: a journal that is not listed has its part listed below.
    journals = journals_of(folder)
    seals = read_seals(folder)
    there = parts(folder)
    states = {path: _state(path, seals) for path in there}
    states |= {path: _state(path, seals) for name in seals if (path := folder / name) not in states}
    sealed: set[Path] = set()
    for path, state in sorted(states.items()):
        journal = journal_of(path)
        if journal in journals and (path.name not in seals or state.problem):
            continue  # killed while it was sealed: the journal has it all
        sealed.add(journal)
        lost = 0 if state.problem is None else seals[path.name].rows if path.name in seals else None
        yield AnswerFile(path, state.rows, lost, state.problem)
    for journal in journals:
        if journal not in sealed:
            yield journal_state(journal)


def _state(path: Path, seals: dict[str, Seal]) -> PartState:
    if not path.exists():
        return PartState(path, 0, f"is missing; {counted(seals[path.name].rows, 'answer')} were in it")
    return part_state(path, seals.get(path.name))


def journal_state(path: Path) -> AnswerFile:
    """A journal as it is.

    Raises:
        FileNotFoundError: it is gone.
    """
    try:
        frames = find_frames(path.read_bytes())
    except FileNotFoundError:
        raise
    except OSError as error:
        return AnswerFile(path, 0, None, f"cannot be read ({reason_of(error)})")
    if frames.unframed:
        return AnswerFile(path, 0, None, UNFRAMED)
    if not frames.gaps:
        return AnswerFile(path, frames.rows, torn_bytes=frames.torn_bytes)
    lost = sum(gap.rows for gap in frames.gaps)
    where = f"{sum(gap.bytes for gap in frames.gaps):,} damaged bytes from byte {frames.gaps[0].offset:,} on"
    return AnswerFile(path, frames.rows, lost, f"has {where}: {counted(lost, 'answer')} lost", frames.torn_bytes)


def journal_batches(path: Path) -> list[pa.RecordBatch]:
    """The batches of a journal's whole frames; none of one without frames.

    Raises:
        OSError: it cannot be read.
    """
    content = path.read_bytes()
    return list(batches_in(content, find_frames(content).spans))
