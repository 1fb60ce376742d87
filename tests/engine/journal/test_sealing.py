"""What is durable when, what waits for a part that is being sealed, and how a journal ends."""

import os
from pathlib import Path
from threading import Event, Timer

import pyarrow as pa
import pytest

import xpoll.engine.journal.journal as journal_module
from xpoll.core.errors import RunFolderError
from xpoll.core.records import COMPLETION_SCHEMA, Completion, to_table
from xpoll.engine.journal.answers import count_answers
from xpoll.engine.journal.journal import Journal
from xpoll.engine.journal.sealed import parts


def batch(number: int) -> list[pa.RecordBatch]:
    return to_table([Completion(f"doc-{number}", "p", 0, text="x")], COMPLETION_SCHEMA).to_batches()


def full(_path: Path) -> None:
    raise RunFolderError("the disk is full")


def test_each_append_is_forced_to_the_disk_once_and_the_folder_with_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forced: list[tuple[str, int]] = []

    def fsync(descriptor: int) -> None:
        forced.append((Path(f"/proc/self/fd/{descriptor}").resolve().name, os.fstat(descriptor).st_size))

    with Journal(tmp_path) as journal:
        monkeypatch.setattr(os, "fsync", fsync)
        for number in range(3):
            journal.append(batch(number))
            path = tmp_path / "journal-00000.arrows"
            assert forced.pop() == (path.name, path.stat().st_size)
            assert [name for name, _ in forced] == [tmp_path.name]
        journal.append([])
        assert len(forced) == 1
        monkeypatch.undo()


def test_answers_are_looked_up_once_the_part_being_sealed_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, seal = Event(), journal_module._seal

    def seal_later(path: Path) -> None:
        assert go_on.wait(30)
        seal(path)

    monkeypatch.setattr(journal_module, "_seal", seal_later)
    with Journal(tmp_path, rows_per_part=1) as journal:
        journal.append(batch(0))
        assert not parts(tmp_path)
        Timer(0.1, go_on.set).start()
        assert [answer.document_id for answer in journal.answers_of(["doc-0"])] == ["doc-0"]
        assert len(parts(tmp_path)) == 1


def test_a_part_that_cannot_be_sealed_is_said_at_the_end_of_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "_seal", full)
    with pytest.raises(RunFolderError, match="disk is full"), Journal(tmp_path, rows_per_part=1) as journal:
        for number in range(9):
            journal.append(batch(number))
    assert count_answers(tmp_path) == 2


def test_the_last_part_that_cannot_be_sealed_is_said_when_the_journal_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "_seal", full)
    with pytest.raises(RunFolderError, match="disk is full"), Journal(tmp_path) as journal:
        journal.append(batch(0))
    monkeypatch.undo()
    with Journal(tmp_path):
        assert count_answers(tmp_path) == 1


def test_an_error_before_the_first_answer_is_passed_on_and_leaves_no_file_of_answers(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Journal(tmp_path):
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_the_next_session_goes_on_with_the_next_number(tmp_path: Path) -> None:
    for number in range(2):
        with Journal(tmp_path) as journal:
            journal.append(batch(number))
    (tmp_path / "part-00007.parquet.damaged").touch()
    with Journal(tmp_path) as journal:
        journal.append(batch(2))
    assert [path.name for path in parts(tmp_path)] == [f"part-0000{number}.parquet" for number in (0, 1, 8)]
