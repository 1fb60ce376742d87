"""What was counted is on disk, whatever ends the process."""

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path
from threading import Event

import pyarrow as pa
import pytest

import xpoll.engine.journal.journal as journal_module
from xpoll.core.errors import RunFolderError
from xpoll.core.records import COMPLETION_SCHEMA, Completion, to_table
from xpoll.engine.journal.answers import count_answers, keys_on_disk, read_completions
from xpoll.engine.journal.journal import Journal
from xpoll.engine.journal.sealed import parts


def answer(number: int) -> Completion:
    return Completion(
        f"doc-{number}", "persona", 0, text=f"text {number}", choice_logprobs=(-0.5, -1.5), output_tokens=3
    )


def batch(*answers: Completion) -> pa.RecordBatch:
    return to_table(answers, COMPLETION_SCHEMA).to_batches()[0]


def ids(folder: Path) -> list[str]:
    return [completion.document_id for completion in read_completions(folder)]


def test_answers_are_read_back_as_written_in_the_order_they_finished(tmp_path: Path) -> None:
    error = Completion("doc-9", "persona", 0, error_kind="context_length", error="too long")
    with Journal(tmp_path) as journal:
        journal.append([batch(answer(2), answer(1))])
        journal.append([batch(error)])
    assert list(read_completions(tmp_path)) == [answer(2), answer(1), error]


def test_a_full_journal_becomes_a_part_and_the_next_one_begins(tmp_path: Path) -> None:
    with Journal(tmp_path, rows_per_part=2) as journal:
        for number in range(5):
            journal.append([batch(answer(number))])
    assert [path.name for path in parts(tmp_path)] == [f"part-{i:05d}.parquet" for i in range(3)]
    assert count_answers(tmp_path) == 5
    assert not list(tmp_path.glob("journal-*"))


def test_the_next_journal_grows_while_a_part_is_sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on, seal = Event(), Event(), journal_module._seal

    def seal_later(path: Path) -> None:
        begun.set()
        assert go_on.wait(30)
        seal(path)

    monkeypatch.setattr(journal_module, "_seal", seal_later)
    with Journal(tmp_path, rows_per_part=2) as journal:
        journal.append([batch(answer(0), answer(1))])
        assert begun.wait(30)
        journal.append([batch(answer(2))])
        assert (count_answers(tmp_path), parts(tmp_path)) == (3, [])
        go_on.set()
        assert [found.document_id for found in journal.answers_of(["doc-1", "doc-2"])] == ["doc-1", "doc-2"]
    assert ids(tmp_path) == ["doc-0", "doc-1", "doc-2"]
    assert len(parts(tmp_path)) == 2


def test_a_part_that_cannot_be_sealed_ends_the_run_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_path: Path) -> None:
        raise RunFolderError("the disk is full")

    with monkeypatch.context() as patch, pytest.raises(RunFolderError, match="disk is full"):
        patch.setattr(journal_module, "_seal", full)
        with Journal(tmp_path, rows_per_part=1) as journal:
            for number in range(9):
                journal.append([batch(answer(number))])
                assert count_answers(tmp_path) == number + 1
    counted = count_answers(tmp_path)
    assert counted > 0
    with Journal(tmp_path):
        pass
    assert ids(tmp_path) == [f"doc-{number}" for number in range(counted)]


def test_a_torn_end_costs_only_the_answers_that_were_not_counted(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Journal(tmp_path) as journal:
        journal.append([batch(answer(0))])
        whole = (tmp_path / "journal-00000.arrows").stat().st_size
        journal.append([batch(answer(1))])
        raise KeyboardInterrupt
    content = (tmp_path / "journal-00000.arrows").read_bytes()
    for cut in {whole, whole + 1, len(content) - 1, *range(whole, len(content), 41)}:
        folder = tmp_path / f"cut-{cut}"
        folder.mkdir()
        (folder / "journal-00000.arrows").write_bytes(content[:cut])
        assert count_answers(folder) == 1, cut
        with Journal(folder) as again:
            assert ids(folder) == ["doc-0"], cut
            again.append([batch(answer(1))])
        assert ids(folder) == ["doc-0", "doc-1"], cut


def test_a_journal_cut_within_its_first_bytes_is_empty_not_an_error(tmp_path: Path) -> None:
    (tmp_path / "journal-00000.arrows").write_bytes(b"\xff\xff")
    with Journal(tmp_path):
        assert ids(tmp_path) == []


def test_killed_between_part_and_journal_no_answer_is_there_twice(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.append([batch(answer(0))])
        left_behind = (tmp_path / "journal-00000.arrows").read_bytes()
    (tmp_path / "journal-00000.arrows").write_bytes(left_behind)
    assert count_answers(tmp_path) == 1, "status counts it twice"
    assert [key.document_id for key in keys_on_disk(tmp_path)] == ["doc-0"]
    with Journal(tmp_path):
        pass
    assert count_answers(tmp_path) == 1


def test_killed_while_it_seals_the_half_of_a_part_is_removed_and_its_answers_stay(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Journal(tmp_path) as journal:
        journal.append([batch(answer(0))])
        raise KeyboardInterrupt
    (tmp_path / ".part-00000.parquet.4711.tmp").write_bytes(b"PAR1 half")
    assert [key.document_id for key in keys_on_disk(tmp_path)] == ["doc-0"]
    with Journal(tmp_path):
        assert ids(tmp_path) == ["doc-0"]
    assert not list(tmp_path.glob(".part-*"))


def test_a_second_process_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    with Journal(tmp_path), pytest.raises(RunFolderError, match="is in use by another xpoll"):
        Journal(tmp_path)
    with Journal(tmp_path):
        pass


def writes_until_killed(folder: Path, said: int) -> None:
    """Appends three answers at a time, and writes to a pipe how many count."""
    with Journal(folder, rows_per_part=40) as journal:
        number = count_answers(folder)
        while True:
            journal.append([batch(*map(answer, range(number, number + 3)))])
            number += 3
            os.write(said, f"{number}\n".encode())


def test_killed_at_random_moments_nothing_counted_is_lost_or_doubled(tmp_path: Path) -> None:
    draw = random.Random(0)
    counted = 0
    for _ in range(5):
        heard, said = os.pipe()
        writer = multiprocessing.get_context("fork").Process(target=writes_until_killed, args=(tmp_path, said))
        writer.start()
        os.close(said)
        with open(heard) as lines:  # noqa: PTH123  (of a descriptor)
            first = lines.readline()
            time.sleep(draw.uniform(0, 0.2))
            writer.kill()
            counted = max(counted, *map(int, [first, *lines]))
        writer.join()
        assert writer.exitcode == -signal.SIGKILL
        with Journal(tmp_path):
            pass
        assert count_answers(tmp_path) >= counted, "an answer that was counted is gone"
        counted = count_answers(tmp_path)
    assert len(ids(tmp_path)) == len(set(ids(tmp_path))) == counted
    assert counted > 60


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_one_line_and_keeps_what_was_counted(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"cannot write .*: No space left on device"), Journal(tmp_path) as journal:
        journal.append([batch(answer(0))])
        with Path("/dev/full").open("wb") as full:
            os.dup2(full.fileno(), journal._file.fileno())
        journal.append([batch(answer(1))])
    assert count_answers(tmp_path) == 1


def test_answers_of_a_few_documents_are_found_in_parts_and_in_the_open_journal(tmp_path: Path) -> None:
    with Journal(tmp_path, rows_per_part=2) as journal:
        for number in range(5):
            journal.append([batch(answer(number))])
        found = journal.answers_of(["doc-1", "doc-4", "doc-9"])
    assert found == [answer(1), answer(4)]
