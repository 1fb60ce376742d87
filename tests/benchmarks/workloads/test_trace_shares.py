"""Shares of an engine's time are those of operators without the ones within them."""

import gzip
import json
from pathlib import Path

import pytest

from xpoll.benchmarks.workloads.trace_shares import trace_shares


def event(name: str, begun_us: float, length_us: float, thread: int = 1) -> dict[str, object]:
    return {"ph": "X", "cat": "cpu_op", "name": name, "ts": begun_us, "dur": length_us, "pid": 7, "tid": thread}


def test_time_is_counted_once_and_the_busiest_thread_counts(tmp_path: Path) -> None:
    events = [
        event("aten::linear", 0, 40),
        event("aten::addmm", 5, 30),
        event("aten::copy_", 10, 10),
        event("vllm::unified_attention", 50, 20),
        event("aten::topk", 80, 20),
        event("aten::mm", 0, 35, thread=2),
        {"ph": "M", "name": "process_name", "pid": 7},
    ]
    with gzip.open(tmp_path / "worker.json.gz", "wt") as file:
        json.dump({"traceEvents": events}, file)
    found = trace_shares(tmp_path)
    assert found["multiplications"] == pytest.approx(0.3)
    assert found["other operators"] == pytest.approx(0.1)
    assert found["attention"] == pytest.approx(0.2)
    assert found["logprobs and sampling"] == pytest.approx(0.2)
    assert found["between operators"] == pytest.approx(0.2)
    assert sum(found.values()) == pytest.approx(1)


def test_a_folder_without_operators_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty.json").write_text('{"traceEvents": []}')
    with pytest.raises(ValueError, match="no trace with operators"):
        trace_shares(tmp_path)
