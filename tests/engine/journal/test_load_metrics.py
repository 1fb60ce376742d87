"""load.jsonl has what every worker said last, and totals of its tokens."""

import json
from pathlib import Path

import pytest

from xpoll.core.errors import RunFolderError
from xpoll.core.records import COMPLETION_SCHEMA, Completion, to_table
from xpoll.engine.backends.backend import Load
from xpoll.engine.journal.load_metrics import LoadMetrics, latest_loads
from xpoll.engine.scheduler import engine_capacity
from xpoll.engine.work import WorkerReply


def reply(answers: int, load: Load | None) -> WorkerReply:
    rows = [Completion(f"d{i}", "p", 0, text="a", prompt_tokens=10, cached_prompt_tokens=8) for i in range(answers)]
    batch = to_table(rows, COMPLETION_SCHEMA).to_batches()[0] if rows else None
    return WorkerReply(batch, [], 0, running=5, waiting=7, stolen=[], capacity=64, load=load)


def test_a_line_has_the_latest_of_a_worker_and_the_totals_since_it_began(tmp_path: Path) -> None:
    metrics = LoadMetrics(tmp_path / "load.jsonl", ["cpu:0", "cpu:1"])
    metrics.update(1, reply(2, Load(1, 1, 0.5)))
    metrics.update(1, reply(3, Load(4, 9, 0.12345)))
    metrics.write()
    metrics.update(0, reply(0, None))
    metrics.write()
    first, second = map(json.loads, (tmp_path / "load.jsonl").read_text().splitlines())
    assert first.pop("unix_s") > 1.7e9
    assert first == {
        "worker": "worker-1",
        "device": "cpu:1",
        "handed_over": 5,
        "held_back": 7,
        "running": 4,
        "waiting": 9,
        "kv_cache_usage": 0.1235,
        "answers": 5,
        "prompt_tokens": 50,
        "cached_prompt_tokens": 40,
        "output_tokens": 0,
    }
    assert (second["worker"], second["running"], second["kv_cache_usage"], second["answers"]) == (
        "worker-0",
        None,
        None,
        0,
    )


def test_status_reads_the_last_line_of_each_worker_and_no_torn_one(tmp_path: Path) -> None:
    path = tmp_path / "load.jsonl"
    assert latest_loads(path) == []
    metrics = LoadMetrics(path, ["cpu:0"] * 11)
    for number in (10, 2, 2):
        metrics.update(number, reply(1, None))
        metrics.write()
    with path.open("a") as file:
        file.write('{"worker": "worker-2", "ans')
    assert [(line["worker"], line["answers"]) for line in latest_loads(path)] == [("worker-2", 2), ("worker-10", 1)]


def test_a_disk_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    metrics = LoadMetrics(tmp_path / "no such folder/load.jsonl", ["cpu:0"])
    metrics.update(0, reply(1, None))
    with pytest.raises(RunFolderError, match="cannot write"):
        metrics.write()


def test_an_engine_is_given_what_it_runs_and_a_queue_that_does_not_run_dry() -> None:
    assert engine_capacity(None, 50) == 50
    assert engine_capacity(Load(0, 0), 1024) == 128
    assert engine_capacity(Load(128, 30), 1024) == 256
    assert engine_capacity(Load(512, 0), 1024) == 768, "a large batch needs a longer queue"
    assert engine_capacity(Load(40, 400), 1024) == 168, "an engine short of memory runs fewer and is given fewer"
    assert engine_capacity(Load(512, 0), 600) == 600
