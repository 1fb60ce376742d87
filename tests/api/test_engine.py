"""One engine for several jobs: started once, in a loop, a thread or a plain call, interrupted and used again."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

import xpoll
from xpoll.core import log
from xpoll.core.files import read_json

TEXTS = [f"text {i}" for i in range(20)]
MANY = [f"slow {i}" for i in range(20_000)]


def started_s(run: xpoll.Run) -> float:
    """How long the run's last session waited for its engine."""
    return float(read_json(run.folder / "engine.json")["sessions"][-1]["startup_s"])


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(log, "_is_own_process", False)
    return tmp_path


@pytest.mark.engine
def test_several_jobs_share_one_start_and_leave_nothing_behind() -> None:
    before = (dict(os.environ), logging.getLogger().handlers[:], signal.getsignal(signal.SIGINT))
    others = {child.pid for child in psutil.Process().children(recursive=True)}
    with xpoll.Engine("simulated", device="cpu", time_scale=0.01) as engine:
        first = engine.label(TEXTS, ["good", "bad"], quiet=True)

        async def cell() -> xpoll.Run:
            return engine.label(TEXTS, ["x", "y", "z"], quiet=True)

        second = asyncio.run(cell())
        found: list[xpoll.Run] = []
        thread = threading.Thread(target=lambda: found.append(engine.label(TEXTS, ["p", "q"], quiet=True)))
        thread.start()
        thread.join()
        for run in (second, *found):
            assert started_s(run) < started_s(first) / 2
            assert len(run.labels) == 20 and None not in run.labels["label"]
        assert set(second.labels["label"]) <= {"x", "y", "z"}
        with pytest.raises(xpoll.EngineError, match="an engine that is kept in this process holds its devices"):
            xpoll.label(TEXTS, ["good", "other"], engine="simulated", device="cpu", quiet=True)
        job = xpoll.Job(
            documents={"path": str(first.folder / "texts.parquet")},
            task={"labels": ["a", "b"]},
            engine={"backend": "simulated", "device": "cpu"},
        )
        with pytest.raises(xpoll.ConfigError, match=r"keys that differ: engine\.simulated"):
            engine.run(job)

        threading.Timer(1.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            engine.label(MANY, ["p", "q"], quiet=True)
        whole = engine.label(MANY, ["p", "q"], quiet=True)
        assert started_s(whole) < started_s(first) / 2
        assert len(whole.votes) == len(whole.labels) == len(MANY)
        assert len(read_json(whole.folder / "engine.json")["sessions"]) == 2
    left = [child for child in psutil.Process().children(recursive=True) if child.pid not in others]
    assert not [child for child in left if child.status() != psutil.STATUS_ZOMBIE]
    assert (dict(os.environ), logging.getLogger().handlers[:], signal.getsignal(signal.SIGINT)) == before


@pytest.mark.engine
def test_an_engine_ends_with_the_process_that_forgot_it(here: Path) -> None:
    code = """
import psutil, sys, xpoll
engine = xpoll.Engine("simulated", device="cpu", time_scale=0)
engine.label(["a", "b"], ["good", "bad"], quiet=True)
print(*(child.pid for child in psutil.Process().children(recursive=True)))
if "raise" in sys.argv: raise SystemExit(3)
"""
    done = subprocess.run([sys.executable, "-P", "-c", code, "raise"], capture_output=True, text=True, cwd=here)
    assert done.returncode == 3, done.stderr
    started = [int(pid) for pid in done.stdout.split()]
    assert len(started) > 2
    gone = [psutil.Process(pid) for pid in started if psutil.pid_exists(pid)]
    assert not psutil.wait_procs(gone, timeout=20)[1]
