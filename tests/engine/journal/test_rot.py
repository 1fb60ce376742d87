"""No rotten byte of a journal or part is taken for an answer, and none ends the process."""

import random
from pathlib import Path

import pytest

from xpoll.benchmarks.workloads.faults.rot import KINDS, trial, write_run
from xpoll.core.errors import RunFolderError
from xpoll.core.records import COMPLETION_SCHEMA, Completion, to_table
from xpoll.engine.journal.answers import count_answers, journal_batches, read_completions, take_inventory
from xpoll.engine.journal.frames import batches_in, find_frames, framed, new_mark
from xpoll.engine.journal.journal import Journal
from xpoll.engine.journal.sealed import parts, read_seals, seal_of, write_seals

TRIALS = 12


def rows(*numbers: int, text: str = "good") -> list:
    return to_table([Completion(f"doc-{i}", "p", 0, text=text) for i in numbers], COMPLETION_SCHEMA).to_batches()


def frame(*numbers: int, mark: bytes, before: int, text: str = "good") -> bytes:
    return b"".join(bytes(piece) for piece in framed(rows(*numbers, text=text), mark=mark, rows_before=before))


def ids(content: bytes) -> list[str]:
    batches = batches_in(content, find_frames(content).spans)
    return [name for batch in batches for name in batch.column("document_id").to_pylist()]


def damaged_journal(folder: Path, appends: int = 4) -> Path:
    """A journal of so many appends of two answers each, with a bit flipped in the second one."""
    with pytest.raises(KeyboardInterrupt), Journal(folder) as journal:
        for i in range(appends):
            journal.append(rows(2 * i, 2 * i + 1))
        raise KeyboardInterrupt
    path = folder / "journal-00000.arrows"
    content = bytearray(path.read_bytes())
    content[len(content) // appends + 400] ^= 4
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("place", ["journal", "part"])
@pytest.mark.parametrize("kind", KINDS)
def test_damage_of_any_kind_costs_answers_that_are_named_and_asked_again(tmp_path: Path, kind: str, place: str) -> None:
    answers = write_run(tmp_path / "whole", documents=60, rows_per_append=6, rows_per_part=50)
    assert len(parts(tmp_path / "whole")) == 2
    lost = 0
    for seed in range(2 if kind in ("empty", "deleted") else TRIALS):
        came = trial(tmp_path / "whole", tmp_path / str(seed), answers, seed=seed, kind=kind, place=place)
        assert (came.garbage, came.unnamed, came.not_asked_again) == (0, 0, 0), seed
        lost += came.lost
    assert lost > 0


def test_frames_behind_damage_are_read_and_the_rows_that_are_lost_are_counted() -> None:
    mark = new_mark()
    frames = [frame(i, i + 1, mark=mark, before=i) for i in (0, 2, 4)]
    whole = b"".join(frames)
    assert find_frames(whole)[1:] == (6, [], 0, False)
    rotten = bytearray(whole)
    rotten[len(frames[0]) + 90] ^= 1
    found = find_frames(bytes(rotten))
    assert (found.rows, found.torn_bytes) == (4, 0)
    assert found.gaps == [(len(frames[0]), len(frames[1]), 2)]
    assert ids(bytes(rotten)) == ["doc-0", "doc-1", "doc-4", "doc-5"]


def test_a_frame_that_is_cut_out_whole_is_missed_and_one_that_is_there_twice_is_read_once() -> None:
    mark = new_mark()
    first, second, third = (frame(i, mark=mark, before=i) for i in (0, 1, 2))
    found = find_frames(first + third)
    assert (found.rows, found.gaps) == (2, [(len(first), 0, 1)])
    assert ids(first + second + second + third) == ["doc-0", "doc-1", "doc-2"]


def test_an_answer_that_holds_what_looks_like_a_frame_is_no_frame() -> None:
    theirs = frame(7, mark=new_mark(), before=1).decode("latin-1")
    mark = new_mark()
    content = bytearray(
        frame(0, mark=mark, before=0) + frame(1, mark=mark, before=1, text=theirs) + frame(2, mark=mark, before=2)
    )
    content[len(frame(0, mark=mark, before=0)) + 10] ^= 1
    assert ids(bytes(content)) == ["doc-0", "doc-2"]


def test_a_damaged_middle_is_refused_by_readers_and_set_aside_by_the_poll(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run/completions"
    path = damaged_journal(folder)
    content = path.read_bytes()
    assert count_answers(folder) == 6
    with pytest.raises(RunFolderError, match=rf"{path} has .* damaged bytes.*: 2 answers lost -> xpoll poll .*run"):
        list(read_completions(folder))
    with Journal(folder) as journal:
        assert journal.lost == 2
        assert "2 answers will be asked again" in capsys.readouterr().err
        assert [each.document_id for each in read_completions(folder)] == [f"doc-{i}" for i in (0, 1, 4, 5, 6, 7)]
        journal.append(rows(2, 3))
    assert path.with_name("journal-00000.arrows.damaged").read_bytes() == content
    assert take_inventory(folder).damaged == []
    assert count_answers(folder) == 8


def test_a_journal_is_not_removed_for_a_part_that_does_not_have_its_rows(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Journal(tmp_path) as journal:
        journal.append(rows(0, 1, 2))
        raise KeyboardInterrupt
    kept = (tmp_path / "journal-00000.arrows").read_bytes()
    with Journal(tmp_path):
        pass
    part = tmp_path / "part-00000.parquet"
    whole = part.read_bytes()
    for rotten in (whole[:-9], whole[:40] + b"\0\0" + whole[42:], b""):
        part.write_bytes(rotten)
        (tmp_path / "journal-00000.arrows").write_bytes(kept)
        assert [each.document_id for each in read_completions(tmp_path)] == ["doc-0", "doc-1", "doc-2"]
        with Journal(tmp_path):
            assert count_answers(tmp_path) == 3
        assert not list(tmp_path.glob("*.damaged"))
        assert part.read_bytes() == whole


def test_a_damaged_line_of_seals_costs_no_answer_and_is_written_anew(tmp_path: Path) -> None:
    with Journal(tmp_path, rows_per_part=2) as journal:
        for i in range(0, 6, 2):
            journal.append(rows(i, i + 1))
    content = (tmp_path / "sealed.jsonl").read_bytes()
    seals, draw = read_seals(tmp_path), random.Random(0)
    for _ in range(50):
        rotten = bytearray(content)
        rotten[draw.randrange(len(rotten))] ^= 1 << draw.randrange(8)
        (tmp_path / "sealed.jsonl").write_bytes(rotten)
        assert len(list(read_completions(tmp_path))) == count_answers(tmp_path) == 6
    with Journal(tmp_path):
        assert read_seals(tmp_path) == seals


def test_pages_of_a_part_without_a_seal_are_held_against_their_checksums(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.append(rows(*range(500)))
    (tmp_path / "sealed.jsonl").unlink()
    (part,) = parts(tmp_path)
    assert len(list(read_completions(tmp_path))) == 500
    content = bytearray(part.read_bytes())
    content[300] ^= 1
    part.write_bytes(content)
    with pytest.raises(RunFolderError, match=r"part-00000.parquet cannot be read \(.*-> xpoll poll"):
        list(read_completions(tmp_path))
    write_seals(tmp_path, [seal_of(part)])  # as if the page had rotted before its seal was made
    with pytest.raises(RunFolderError, match=r"cannot be read \(.*CRC.*-> xpoll poll"):
        list(read_completions(tmp_path))


def test_a_journal_of_a_version_without_frames_is_refused_in_one_line(tmp_path: Path) -> None:
    import pyarrow as pa

    path = tmp_path / "journal-00000.arrows"
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, COMPLETION_SCHEMA) as writer:
        writer.write_batch(rows(0)[0])
    for open_it in (lambda: Journal(tmp_path), lambda: list(read_completions(tmp_path))):
        with pytest.raises(RunFolderError, match=r"of an earlier xpoll, without checksums -> .* or delete the file"):
            open_it()
    assert path.exists()
    assert journal_batches(path) == []
