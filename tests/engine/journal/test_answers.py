"""The files of answers, as an inventory names them and as each reader counts them."""

from pathlib import Path

import pyarrow as pa
import pytest

from xpoll.benchmarks.workloads.faults.rot import write_run
from xpoll.core.errors import RunFolderError
from xpoll.core.records import COMPLETION_SCHEMA, Completion, to_table
from xpoll.engine.journal.answers import (
    UNFRAMED,
    AnswerFile,
    count_answers,
    keys_on_disk,
    read_batches,
    read_completions,
    take_inventory,
)
from xpoll.engine.journal.frames import Frames, find_frames
from xpoll.engine.journal.journal import Journal

PART, OPEN = "part-00000.parquet", "journal-00001.arrows"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """completions/ with a part of 40 answers and a journal of 20 that is not sealed."""
    write_run(tmp_path, documents=30, rows_per_append=5, rows_per_part=40)
    return tmp_path


def test_files_that_are_whole_have_no_problem_and_nothing_of_them_is_lost_or_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = take_inventory(folder)
    assert found.files == [AnswerFile(folder / PART, 40, 0, None, 0), AnswerFile(folder / OPEN, 20, 0, None, 0)]
    assert (found.rows, found.damaged) == (60, [])
    with Journal(folder) as journal:
        assert journal.lost == 0
    assert capsys.readouterr().err == ""


def test_a_part_stands_for_its_journal_once_its_seal_is_written_and_not_before(folder: Path) -> None:
    journal = (folder / OPEN).read_bytes()
    with Journal(folder):
        pass
    (folder / OPEN).write_bytes(journal)

    def names() -> list[str]:
        return [file.path.name for file in take_inventory(folder).files]

    assert names() == [PART, "part-00001.parquet"]
    first_seal, _ = (folder / "sealed.jsonl").read_text().splitlines(keepends=True)
    (folder / "sealed.jsonl").write_text(first_seal)
    assert names() == [PART, OPEN]
    assert count_answers(folder) == len(set(read_completions(folder))) == 60


def test_a_part_that_is_missing_or_changed_has_no_rows_and_its_seal_says_how_many_are_lost(folder: Path) -> None:
    content = (folder / PART).read_bytes()
    for damaged, problem in (
        (content + b"x", f"has {len(content) + 1:,} bytes where {len(content):,} were written"),
        (content[:-1] + b"x", "is not what was written (its checksum differs)"),
        (None, "is missing; 40 answers were in it"),
    ):
        if damaged is None:
            (folder / PART).unlink()
        else:
            (folder / PART).write_bytes(damaged)
        found = take_inventory(folder)
        assert found.files[0] == AnswerFile(folder / PART, 0, 40, problem)
        assert found.rows == 20
        for refused in (lambda: keys_on_disk(folder), lambda: list(read_batches(folder))):
            with pytest.raises(RunFolderError, match=PART):
                refused()


def test_what_is_lost_with_a_damaged_part_without_a_seal_is_not_known(folder: Path) -> None:
    (folder / "sealed.jsonl").unlink()
    (folder / PART).write_bytes(b"PAR1")
    (part, _) = take_inventory(folder).files
    assert (part.rows, part.lost) == (0, None)
    assert part.problem is not None and part.problem.startswith("cannot be read (")


def test_parts_without_a_seal_are_counted_and_those_of_another_size_are_not(folder: Path) -> None:
    assert count_answers(folder) == 60
    seals = (folder / "sealed.jsonl").read_bytes()
    (folder / "sealed.jsonl").unlink()
    assert count_answers(folder) == 60
    (folder / "sealed.jsonl").write_bytes(seals)
    (folder / PART).write_bytes((folder / PART).read_bytes()[:-1])
    assert count_answers(folder) == 20


def test_columns_that_are_asked_for_are_all_that_is_read(folder: Path) -> None:
    batches = list(read_batches(folder, ["sample", "document_id"]))
    assert {tuple(sorted(batch.schema.names)) for batch in batches} == {("document_id", "sample")}
    assert sum(batch.num_rows for batch in batches) == 60


def test_nothing_of_a_journal_without_frames_is_counted(tmp_path: Path) -> None:
    table = to_table([Completion("a", "p", 0, text="x")], COMPLETION_SCHEMA)
    path = tmp_path / "journal-00000.arrows"
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, COMPLETION_SCHEMA) as writer:
        writer.write_table(table)
    assert find_frames(path.read_bytes()) == Frames([], 0, [], 0, unframed=True)
    assert take_inventory(tmp_path).files == [AnswerFile(path, 0, None, UNFRAMED)]
    assert count_answers(tmp_path) == 0
