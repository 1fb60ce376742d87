"""Prometheus metrics of a run, scraped over HTTP as Prometheus does, and the board that shows them."""

import json
import re
import socket
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.plans import make_plan
from xpoll.core.errors import EngineError
from xpoll.core.files import write_json
from xpoll.core.run_folder import RunFolder
from xpoll.pipeline.prometheus import COUNTERS, GAUGES, serve_metrics

LOAD = {
    "unix_s": 1.0,
    "worker": "worker-0",
    "device": "xpu:0",
    "handed_over": 130,
    "held_back": 4,
    "running": 96,
    "waiting": 34,
    "kv_cache_usage": 0.5,
    "answers": 1200,
    "prompt_tokens": 9000,
    "cached_prompt_tokens": 7000,
    "output_tokens": 5000,
}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path)
    silent = LOAD | {"worker": "worker-1", "device": "xpu:1", "running": None, "waiting": None, "kv_cache_usage": None}
    folder.load.write_text("".join(json.dumps(load) + "\n" for load in (LOAD, silent)))
    write_json(folder.plan, make_plan(prompts=2400, documents=800).as_json())
    return folder


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def scrape(folder: RunFolder) -> str:
    over, port = threading.Event(), free_port()
    thread = threading.Thread(target=serve_metrics, args=(folder, port, [].append), kwargs={"until": over})
    thread.start()
    deadline_s = time.monotonic() + 20
    try:
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
                    return str(answer.read().decode())
            except OSError:
                assert time.monotonic() < deadline_s and thread.is_alive()
                time.sleep(0.02)
    finally:
        over.set()
        thread.join()


def test_every_worker_has_its_metrics_and_what_an_engine_does_not_say_is_left_out(
    run: RunFolder,
) -> None:
    text = scrape(run)
    assert 'xpoll_answers_total{device="xpu:0",worker="worker-0"} 1200.0' in text
    assert 'xpoll_kv_cache_usage{device="xpu:0",worker="worker-0"} 0.5' in text
    assert 'xpoll_answers_total{device="xpu:1",worker="worker-1"} 1200.0' in text
    assert 'xpoll_running{device="xpu:1"' not in text
    assert "xpoll_run_prompts 2400.0" in text and "xpoll_run_answers 0.0" in text
    assert 'xpoll_run_step_done{step="poll"} 0.0' in text


def test_a_run_that_has_not_begun_can_be_watched(tmp_path: Path) -> None:
    assert "xpoll_run_answers 0.0" in scrape(RunFolder(tmp_path))


def test_a_port_that_is_taken_is_one_line(run: RunFolder) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(EngineError, match="cannot listen on"):
            serve_metrics(run, taken.getsockname()[1], [].append)


def test_the_board_shows_only_metrics_that_there_are() -> None:
    board = json.loads((ROOT / "docs/grafana.json").read_text(encoding="utf-8"))
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    shown = {name for query in queries for name in re.findall(r"xpoll_\w+", query)}
    known = {f"xpoll_{name}_total" for name in COUNTERS} | {f"xpoll_{name}" for name in GAUGES}
    assert shown <= known | {"xpoll_run_answers", "xpoll_run_prompts", "xpoll_run_step_done"}
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"]) > 5
