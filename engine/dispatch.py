"""Keeps a bounded number of prompts in flight on each worker until every prompt has its one answer.

Guarantees: each prompt handed in comes out exactly once, as an answer or as an error row, and comes
out only after it is in the journal. A worker that dies is started again and its unfinished prompts
are asked again. Memory does not grow with the number of prompts.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from core.errors import EngineError
from core.records import Completion, Key, Prompt
from engine.journal import Journal

WAIT_S = 1.0


@dataclass(slots=True)
class Seat:
    """One device: its worker, what that worker has in flight, and the call that waits for its answers."""

    worker: Any
    in_flight: dict[Key, Prompt] = field(default_factory=dict)
    call: Any = None
    restarts: int = 0


def dispatch(
    prompts: Iterator[Prompt],
    workers: Sequence[Any],
    journal: Journal,
    *,
    max_in_flight: int,
    max_restarts: int,
    restart: Callable[[int], Any],
) -> Iterator[Sequence[Completion]]:
    """Answers, in the order they finish, as soon as they are in the journal.

    Args:
        prompts: What to ask; taken from as answers make room.
        workers: Ray actors with `exchange`, started.
        journal: Where answers become durable.
        max_in_flight: Most unanswered prompts of one worker.
        max_restarts: How often a seat's dead worker is replaced before the seat is given up.
        restart: From a seat's number to a new, started worker.

    Raises:
        EngineError: no seat is left; what was answered is in the journal.
    """
    import ray

    seats = {number: Seat(worker) for number, worker in enumerate(workers)}
    again: deque[Prompt] = deque()
    while True:
        for seat in seats.values():
            if seat.call is None:
                _hand_over(seat, again, prompts, max_in_flight)
        calls = {seat.call: number for number, seat in seats.items() if seat.call is not None}
        if not calls:
            return
        ready, _ = ray.wait(list(calls), num_returns=1)
        seat = seats[calls[ready[0]]]
        seat.call = None
        try:
            answers: list[Completion] = ray.get(ready[0])
        except ray.exceptions.RayError as error:
            again.extend(seat.in_flight.values())
            _replace(seats, calls[ready[0]], max_restarts, restart, error)
            continue
        for answer in answers:
            del seat.in_flight[answer.key]
        journal.append(answers)
        yield answers


def _hand_over(seat: Seat, again: deque[Prompt], prompts: Iterator[Prompt], max_in_flight: int) -> None:
    """Fills the seat up to its bound and waits for answers, unless there is nothing to wait for."""
    fresh: list[Prompt] = []
    room = max_in_flight - len(seat.in_flight)
    while again and room > len(fresh):
        fresh.append(again.popleft())
    fresh.extend(islice(prompts, room - len(fresh)))
    seat.in_flight.update((prompt.key, prompt) for prompt in fresh)
    if seat.in_flight:
        seat.call = seat.worker.exchange.remote(fresh, WAIT_S)


def _replace(
    seats: dict[int, Seat], number: int, max_restarts: int, restart: Callable[[int], Any], error: Exception
) -> None:
    used = seats.pop(number).restarts
    reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
    if used < max_restarts:
        seats[number] = Seat(restart(number), restarts=used + 1)
    elif not seats:
        raise EngineError(
            f"every engine died {max_restarts + 1} times, last with: {reason}",
            mend="see xpoll.log; run the same command again to go on from the answers kept",
        )
