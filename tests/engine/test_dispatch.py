"""Time limits of the dispatcher, with workers that only take calls."""

import time
from pathlib import Path
from threading import Event
from types import SimpleNamespace

from xpoll.core.config import EngineConfig
from xpoll.core.records import AnswerSchema, Prompt, Sampling
from xpoll.engine.dispatch import Dispatch
from xpoll.engine.journal.journal import Journal
from xpoll.engine.journal.load import Meters
from xpoll.engine.slots import Slots
from xpoll.engine.work import NeverStop, Work


def silent_worker(number: int) -> SimpleNamespace:
    calls = iter(range(100))
    call = SimpleNamespace(remote=lambda *_: f"call {next(calls)} of {number}")
    return SimpleNamespace(exchange=call, start=call)


def dispatcher(
    documents: list[str], seats: Slots, journal: Journal, folder: Path, config: EngineConfig | None = None
) -> Dispatch:
    for seat in seats.seats.values():
        seat.starting = False
    meters = Meters(folder / "load.jsonl", [f"cpu:{number}" for number in seats.seats])
    return Dispatch(iter(map(work, documents)), seats, journal, NeverStop(), config or EngineConfig(), meters, Event())


def work(document_id: str) -> Work:
    return Work(document_id, (Prompt(document_id, "p", 0, (), Sampling(0.8, 1.0, 16), AnswerSchema(("a", "b"))),))


def test_a_worker_that_has_said_nothing_yet_gets_no_more_than_its_bound_and_as_much_to_wait(tmp_path: Path) -> None:
    seats = Slots(silent_worker, lambda worker: None, number=1, max_restarts=2)
    with Journal(tmp_path) as journal:
        documents = [f"doc-{i}" for i in range(20)]
        run = dispatcher(documents, seats, journal, tmp_path, EngineConfig(max_in_flight=3))
        run.hand_over()
    assert len(seats.seats[0].in_flight) == 6


def test_a_seat_that_is_to_run_empty_gets_nothing_new_and_then_the_suspects(tmp_path: Path) -> None:
    seats = Slots(silent_worker, lambda worker: None, number=2, max_restarts=2)
    for seat in seats.seats.values():
        seat.places = 1
    with Journal(tmp_path) as journal:
        run = dispatcher([f"doc-{i}" for i in range(9)], seats, journal, tmp_path)
        run.hand_over()
        first, second = seats.seats.values()
        had = list(first.in_flight)
        seats.suspects.append([work("suspect")])
        second.load += 1  # the other one is nearer to its end
        first.calls.clear()
        run.hand_over()
        assert list(first.in_flight) == had
        first.in_flight.clear()
        first.calls.clear()
        run.hand_over()
        assert (list(first.in_flight), first.alone, first.clearing) == (["suspect"], True, False)


def test_a_worker_that_was_idle_for_long_is_not_taken_for_hung_when_it_gets_work(tmp_path: Path) -> None:
    seats = Slots(silent_worker, lambda worker: None, number=1, max_restarts=2)
    seat = seats.seats[0]
    with Journal(tmp_path) as journal:
        run = dispatcher(["doc"], seats, journal, tmp_path)
        seat.news_s = time.monotonic() - 1000
        run.hand_over()
        run._look_for_hangs()
        assert (seat.deaths, list(seat.in_flight)) == (0, ["doc"])
        seat.news_s -= EngineConfig().hang_timeout_s + 1
        run._look_for_hangs()
        assert seat.deaths == 1, "without an answer for the whole limit it is"


def test_a_device_that_died_loads_its_model_again_only_if_something_is_left_to_ask(tmp_path: Path) -> None:
    seats = Slots(silent_worker, lambda worker: None, number=2, max_restarts=2)
    with Journal(tmp_path) as journal:
        run = dispatcher([], seats, journal, tmp_path)
        dead, other = seats.seats.values()
        dead.starting = True
        dead.news_s = time.monotonic() - EngineConfig().start_timeout_s - 1
        run.hand_over()
        run._look_for_hangs()
        assert (run.calls, dead.deaths) == ({}, 0)
        other.waiting = 9  # half of these could be taken over
        run.hand_over()
        assert list(run.calls.values()) == [dead]
        dead.calls.clear()
        other.waiting, other.alone = 0, True
        seats.suspects.append([work("suspect")])
        run.hand_over()
        assert list(run.calls.values()) == [dead]
