"""Time limits of the dispatcher, with workers that only take calls."""

import time
from pathlib import Path
from threading import Event
from types import SimpleNamespace

from core.config import Engine
from core.records import AnswerSchema, Prompt, Sampling
from engine.dispatch import _Dispatch
from engine.journal import Journal
from engine.meters import Meters
from engine.seats import Seats
from engine.work import NeverStop, Work


def silent_worker(number: int) -> SimpleNamespace:
    calls = iter(range(100))
    return SimpleNamespace(exchange=SimpleNamespace(remote=lambda *_: f"call {next(calls)} of {number}"))


def test_a_worker_that_was_idle_for_long_is_not_taken_for_hung_when_it_gets_work(tmp_path: Path) -> None:
    prompt = Prompt("doc", "p", 0, (), Sampling(0.8, 1.0, 16), AnswerSchema(("a", "b")))
    seats = Seats(silent_worker, lambda worker: None, number=1, max_restarts=2)
    seat = seats.seats[0]
    seat.starting, seat.news_s = False, time.monotonic() - 1000
    with Journal(tmp_path) as journal:
        run = _Dispatch(
            iter([Work("doc", (prompt,))]),
            seats,
            journal,
            NeverStop(),
            Engine(),
            Meters(tmp_path / "load.jsonl", ["cpu:0"]),
            Event(),
        )
        run.hand_over()
        run._look_for_hangs()
        assert (seat.deaths, list(seat.in_flight)) == (0, ["doc"])
        seat.news_s -= Engine().hang_timeout_s + 1
        run._look_for_hangs()
        assert seat.deaths == 1, "without an answer for the whole limit it is"
