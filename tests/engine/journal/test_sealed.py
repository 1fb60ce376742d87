"""A seal says what a part's file is, byte by byte."""

import zlib
from pathlib import Path

import pytest

from xpoll.core.records import COMPLETION_SCHEMA, Completion, to_table
from xpoll.engine.journal import sealed
from xpoll.engine.journal.sealed import (
    Seal,
    batches_of_part,
    part_state,
    read_seals,
    reason_of,
    write_part,
    write_seals,
)

TABLE = to_table([Completion(f"doc-{i}", "p", 0, text=f"text {i}") for i in range(9)], COMPLETION_SCHEMA)


def test_a_seal_has_the_rows_the_size_and_the_checksum_of_the_file_however_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "part-00007.parquet"
    for at_once in (10, sealed.READ_BYTES):
        monkeypatch.setattr(sealed, "READ_BYTES", at_once)
        seal = write_part(path, TABLE)
        content = path.read_bytes()
        assert seal == Seal(path.name, 9, len(content), zlib.crc32(content))
        assert part_state(path, seal) == part_state(path, None) == (path, 9, None)


def test_seals_are_read_as_written_and_a_line_with_another_value_is_passed_over(tmp_path: Path) -> None:
    seals = [Seal(f"part-0000{i}.parquet", 10 + i, 1000, 7) for i in range(3)]
    assert read_seals(tmp_path) == {}
    write_seals(tmp_path, reversed(seals))
    assert list(read_seals(tmp_path).values()) == seals
    path = tmp_path / "sealed.jsonl"
    path.write_text(path.read_text().replace('"rows": 11', '"rows": 12'))
    assert list(read_seals(tmp_path).values()) == [seals[0], seals[2]]


def test_a_part_that_cannot_be_read_has_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "part-00000.parquet"
    seal = write_part(path, TABLE)
    path.unlink()
    path.mkdir()
    for known in (seal, None):
        state = part_state(path, known)
        assert (state.rows, state.problem is not None) == (0, True)


def test_columns_that_a_part_does_not_have_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "part-00000.parquet"
    write_part(path, TABLE.drop_columns(["worker"]))
    (batch,) = batches_of_part(path, ["text", "worker"])
    assert batch.schema.names == ["text"]
    (batch,) = batches_of_part(path)
    assert batch.schema.names == TABLE.drop_columns(["worker"]).schema.names


def test_the_reason_of_a_failure_is_one_short_line() -> None:
    assert reason_of(FileNotFoundError(2, "No such file or directory", "a.parquet")) == "No such file or directory"
    assert reason_of(ValueError("one\n  two")) == "one two"
    assert reason_of(ValueError("x " * 100)) == ("x " * 60)
