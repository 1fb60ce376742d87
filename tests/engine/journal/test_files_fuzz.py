"""No file of a run's answers, whatever is in it, ends a reader by anything but a line, or is taken for answers."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.hostile import DEEP, ROTTEN, anything, examples, holds, json_bytes, mutated
from xpoll.benchmarks.workloads.faults.rot import write_run
from xpoll.core.records import Completion
from xpoll.engine.journal.answers import count_answers, read_completions, take_inventory
from xpoll.engine.journal.journal import Journal
from xpoll.engine.journal.load_metrics import latest_loads

NAMES = ["journal-00001.arrows", "part-00000.parquet", "sealed.jsonl"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], set[Completion]]:
    folder = tmp_path_factory.mktemp("whole")
    answers = write_run(folder, documents=30, rows_per_append=5, rows_per_part=40)
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name in NAMES}, set(answers)


def every_reader(folder: Path, files: dict[str, bytes], written: set[Completion]) -> None:
    for name, content in files.items():
        (folder / name).write_bytes(content)
    size = sum(map(len, files.values()))
    read: list[Completion] = []
    holds(lambda: take_inventory(folder), size=size)
    holds(lambda: count_answers(folder), size=size)
    holds(lambda: read.extend(read_completions(folder)), size=size)
    assert set(read) <= written
    with Journal(folder):
        kept = list(read_completions(folder))
    assert set(kept) <= written
    assert len(kept) == len(set(kept))


@examples(15)
@given(data=st.data(), name=st.sampled_from(NAMES))
def test_files_that_were_damaged(
    tmp_path_factory: pytest.TempPathFactory,
    whole: tuple[dict[str, bytes], set[Completion]],
    data: st.DataObject,
    name: str,
) -> None:
    files, written = whole
    assert set(NAMES) == files.keys()
    every_reader(tmp_path_factory.mktemp("run"), {**files, name: data.draw(mutated(files[name]))}, written)


SEAL = {"part": "part-00000.parquet", "rows": 1, "bytes": 1, "crc32": 1, "line_crc32": 1}


@examples(15)
@given(content=st.sampled_from(ROTTEN) | st.dictionaries(st.sampled_from(list(SEAL)), anything).map(json_bytes))
@example(DEEP)
@example(json_bytes({**SEAL, "part": "../../part-00000.parquet"}))
@example(json_bytes([SEAL]))
def test_any_line_of_the_seals(
    tmp_path_factory: pytest.TempPathFactory, whole: tuple[dict[str, bytes], set[Completion]], content: bytes
) -> None:
    files, written = whole
    every_reader(tmp_path_factory.mktemp("run"), {**files, "sealed.jsonl": files["sealed.jsonl"] + content}, written)


@examples(15)
@given(lines=st.lists(st.sampled_from(ROTTEN) | anything.map(json_bytes), max_size=3))
def test_any_line_of_the_loads(tmp_path_factory: pytest.TempPathFactory, lines: list[Any]) -> None:
    path = tmp_path_factory.mktemp("run") / "load.jsonl"
    whole = json.dumps({"worker": "worker-0", "running": 1}).encode()
    path.write_bytes(b"\n".join([whole, *(line.replace(b"\n", b" ") for line in lines), b""]))
    assert [each["worker"] for each in latest_loads(path)] == ["worker-0"]
