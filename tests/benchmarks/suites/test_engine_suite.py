"""Latency figures checked by hand, the closed loop with an engine that is not there, and the search of `tune`."""

import asyncio
import json
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from xpoll.benchmarks.suites import engine as engine_latency
from xpoll.benchmarks.suites.engine import Answered, figures
from xpoll.benchmarks.suites.tune import as_toml, search, write_best

BOUNDS = {"first_token_bound_ms": 100.0, "latency_bound_ms": 500.0}


def test_percentiles_rates_and_goodput_are_those_of_the_requests() -> None:
    good, late, slow = (
        Answered(0.05, 0.41, 100, 80, 10),
        Answered(0.2, 0.4, 100, 0, 10),
        Answered(0.05, 1.0, 100, 0, 10),
    )
    record = figures([good, late, slow], 2.0, BOUNDS)
    assert record["requests_per_s"] == 1.5
    assert record["goodput_per_s"] == 0.5, "one of three came in time for both bounds"
    assert record["output_tokens_per_s"] == 15.0
    assert (record["prompt_tokens"], record["cached_share"]) == (300, round(80 / 300, 4))
    assert record["first_token_p50_ms"] == 50.0
    assert figures([good], 1.0, BOUNDS)["per_token_p50_ms"] == pytest.approx(40.0)


class Engine:
    """Answers a token at a time, and knows how many requests were in flight at once."""

    def __init__(self) -> None:
        self.in_flight = self.most = 0

    async def generate(self, _prompt: Any, params: Any, _request: str) -> AsyncIterator[Any]:
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        for _ in range(params.length):
            await asyncio.sleep(0)
            yield SimpleNamespace(outputs=[SimpleNamespace(token_ids=[1])], num_cached_tokens=2)
        self.in_flight -= 1


def test_a_closed_loop_keeps_so_many_in_flight_and_answers_all(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask(engine: Any, prompt: list[int], _parameters: Any, request: str) -> Answered:
        tokens = [output async for output in engine.generate(prompt, SimpleNamespace(length=3), request)]
        return Answered(0.1, 0.2, len(prompt), 0, len(tokens))

    monkeypatch.setattr(engine_latency, "_ask", ask)
    engine = Engine()
    answered, wall_s = asyncio.run(engine_latency._closed_loop(engine, [[1, 2]] * 10, 4, {}, "test"))
    assert (len(answered), engine.most, engine.in_flight) == (10, 4, 0)
    assert wall_s > 0


def rate_of(options: dict[str, Any]) -> dict[str, float]:
    """A made-up engine: larger batches help, blocks of 128 do not start, blocks of 64 do harm."""
    if options.get("block_size") == 128:
        raise ValueError("unsupported\nblock size")
    rate = 100.0 + (20.0 if options.get("max_num_seqs") == 256 else 0.0) - (10.0 if "block_size" in options else 0.0)
    return {"output_tokens_per_s": rate}


def test_the_search_keeps_what_is_faster_and_records_what_fails() -> None:
    settings = {"max_num_seqs": [64, 256], "block_size": [64, 128]}
    records = list(search(settings, rate_of, least_gain=0.03))
    assert [(each["arm"], each["status"]) for each in records] == [
        ("as xpoll sets it", "ok"),
        ("max_num_seqs = 64", "ok"),
        ("max_num_seqs = 256", "ok"),
        ("block_size = 64", "ok"),
        ("block_size = 128", "failed"),
        ("best", "ok"),
    ]
    assert json.loads(records[3]["options"]) == {"max_num_seqs": 256, "block_size": 64}, "tried with the best so far"
    assert records[4]["error"] == "unsupported block size"
    assert "output_tokens_per_s" not in records[4]
    assert (json.loads(records[-1]["options"]), records[-1]["gain"]) == ({"max_num_seqs": 256}, 1.2)


def test_a_gain_within_noise_changes_nothing() -> None:
    records = list(search({"max_num_seqs": [256]}, rate_of, least_gain=0.25))
    assert (json.loads(records[-1]["options"]), records[-1]["gain"]) == ({}, 1.0)


def test_the_best_options_are_written_beside_the_records(tmp_path: Path) -> None:
    document = {
        "parameters": {"model": "tiny"},
        "environment": {"devices": "1 x cpu"},
        "started_utc": "2026-11-21T12:00:00Z",
        "output": str(tmp_path / "tune.json"),
        "records": list(search({"max_num_seqs": [256]}, rate_of, least_gain=0.03)),
    }
    text = write_best(document).read_text(encoding="utf-8")
    assert (tmp_path / "tune.toml").exists()
    assert "20.0 % more output tokens/s" in text
    assert tomllib.loads(text) == {"engine": {"vllm": {"max_num_seqs": 256}}}


def test_the_best_options_are_a_table_that_a_job_takes() -> None:
    options = {"max_num_seqs": 256, "enforce_eager": False, "dtype": "bfloat16"}
    assert tomllib.loads(as_toml(options)) == {"engine": {"vllm": options}}
