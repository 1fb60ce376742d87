"""Keeps a bounded number of documents in flight on each worker until every one is settled.

Guarantees: each prompt that is asked ends exactly once, as an answer or as an error row, and is counted
only after it is in the journal. What a worker had when it died is asked again; a document that kills
workers becomes error rows. Memory does not grow with the number of documents.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import pyarrow as pa

from xpoll.core.config import EngineConfig
from xpoll.core.errors import EngineError
from xpoll.core.records import COMPLETION_SCHEMA, Completion, to_table
from xpoll.engine.journal.journal import Journal
from xpoll.engine.journal.load import Meters
from xpoll.engine.slots import Slot, Slots
from xpoll.engine.work import StopRule, Work, WorkBatch, WorkerReply

WAIT_S = 1.0
CALLS_A_SEAT = 2  # while one batch of answers is written and replaced, the worker has the other


@dataclass(slots=True)
class Tally:
    """What was counted since the last one."""

    answers: int = 0
    documents: int = 0
    saved: int = 0


@dataclass
class Dispatch:
    """One run of documents over workers.

    Attributes:
        work: Documents to ask about; taken from as workers have room.
        seats: The workers, just begun.
        journal: Where answers become durable.
        stop: Settles documents; the same rule as in the workers.
        config: Bounds and time limits of the engine section.
        meters: Hears what the workers say of their queues and tokens.
        drain: Once it is set, no document is begun any more; those that are begun are finished.
        calls: Calls to workers that are not answered yet, each with the seat of its worker.
    """

    work: Iterator[Work]
    seats: Slots
    journal: Journal
    stop: StopRule
    config: EngineConfig
    meters: Meters
    drain: Event
    calls: dict[Any, Slot] = field(default_factory=dict, init=False)

    def tallies(self) -> Iterator[Tally]:
        """Runs until every document is settled; yields a tally each time that answers became durable.

        Raises:
            EngineError: the first start fails, or no device is left; what was answered is in the journal.
        """
        while True:
            if self.drain.is_set() and not any(seat.in_flight for seat in self.seats.seats.values()):
                yield self.write_poison()
                return
            self.hand_over()
            if not self.calls:
                if self.drain.is_set() or not self.seats.sentence_the_rest():
                    yield self.write_poison()
                    return
                continue
            yield self.collect()

    def hand_over(self) -> None:
        """Gives every seat something to do and somebody who waits for its news."""
        self.seats.clear_for_suspects()
        for seat in self.seats.seats.values():
            if seat.starting:
                if not seat.calls and self._has_work():  # a device that died at the end need not load its model again
                    seat.news_s = time.monotonic()
                    seat.calls.add(seat.worker.start.remote())
                continue
            if self.drain.is_set():
                seat.give_back = seat.waiting
            while len(seat.calls) < CALLS_A_SEAT:
                fresh = self._next_for(seat)
                if fresh and not seat.in_flight:
                    seat.news_s = time.monotonic()  # it had nothing to answer until now
                seat.in_flight.update((work.document_id, work) for work in fresh)
                if not fresh and (seat.calls or not seat.in_flight):
                    break
                seat.calls.add(seat.worker.exchange.remote(WorkBatch(fresh), WAIT_S, seat.give_back))
                seat.give_back = 0
            if not seat.in_flight and not self.drain.is_set():
                self._ask_back()
        self.calls = {call: seat for seat in self.seats.seats.values() for call in seat.calls}

    def _next_for(self, seat: Slot) -> list[Work]:
        if seat.alone or self.drain.is_set():
            return []
        if seat.convicted and not seat.in_flight and (witness := self._take()) is not None:
            seat.alone = True  # a document that is not suspected shows whether it is the device that kills
            return [witness]
        if self.seats.suspects and not seat.in_flight:
            seat.alone, seat.clearing = True, False
            return self.seats.suspects.popleft()
        if seat.clearing:
            return []
        fresh: list[Work] = []
        room = 2 * min(seat.places, self.config.max_in_flight)  # one engine-load running, one waiting
        until = min(room, seat.load + room // CALLS_A_SEAT)
        while seat.load < until and (work := self._take()) is not None:
            fresh.append(work)
            seat.load += self._cost(work)
        return fresh

    def _cost(self, work: Work) -> int:
        """Prompts that are asked of a document at once."""
        return max(1, self.stop.fewest(work.answers, len(work.prompts)))

    def _take(self) -> Work | None:
        if self.seats.again:
            return self.seats.again.popleft()
        return next(self.work, None)

    def _has_work(self) -> bool:
        """Whether a document waits for a worker, or for a place in one that it could be taken from."""
        if self.drain.is_set():
            return False
        if any(seat.waiting > 1 for seat in self.seats.seats.values()):
            return True
        if not (self.seats.again or self.seats.suspects) and (work := self._take()) is not None:
            self.seats.again.append(work)
        return bool(self.seats.again or self.seats.suspects)

    def _ask_back(self) -> None:
        """A seat has nothing to do: the fullest other one is to give back half of what it has not begun."""
        fullest = max(self.seats.seats.values(), key=lambda seat: seat.waiting)
        if fullest.waiting > 1 and not fullest.alone and not fullest.starting:
            fullest.give_back = fullest.waiting // 2

    def collect(self) -> Tally:
        """Waits for news, makes all of it durable at once, and only then counts it."""
        import ray

        ready, _ = ray.wait(list(self.calls), num_returns=1, timeout=WAIT_S)
        if ready:  # whatever else is there by now shares the one fsync
            ready, _ = ray.wait(list(self.calls), num_returns=len(self.calls), timeout=0)
        replies: list[tuple[Slot, WorkerReply]] = []
        deaths: dict[int, tuple[Slot, str]] = {}
        for call in ready:
            seat = self.calls[call]
            seat.calls.discard(call)
            try:
                outcome = ray.get(call)
            except ray.exceptions.RayError as error:
                deaths[seat.number] = seat, _reason(error)
                continue
            if seat.starting:
                self._started(seat, outcome)
            else:
                replies.append((seat, outcome))
        tally = self._count(replies)
        for seat, reason in deaths.values():  # behind the count: what came before the death is on disk by now
            self._died(seat, reason)
        self._look_for_hangs()
        return tally

    def _started(self, seat: Slot, problem: str | None) -> None:
        if problem is None:
            seat.starting, seat.news_s, self.seats.worked = False, time.monotonic(), True
            self.seats.ready_s.setdefault(seat.number, seat.news_s)
        elif self.seats.worked:
            self._died(seat, problem)
        else:
            raise EngineError(problem)  # nothing has worked yet, so it is the model or the config, and would fail again

    def _count(self, replies: list[tuple[Slot, WorkerReply]]) -> Tally:
        batches = [reply.answers for _, reply in replies if reply.answers is not None]
        tally = self.write_poison(batches)
        for seat, reply in replies:
            if reply.answers is not None:
                seat.news_s = time.monotonic()
            seat.waiting, seat.places = reply.waiting, reply.places
            self.meters.read(seat.number, reply)
            settled = [seat.in_flight[document_id] for document_id in reply.finished]
            back = [seat.in_flight.pop(document_id) for document_id in reply.given_back]
            seat.load -= sum(map(self._cost, [*settled, *back]))
            self.seats.again.extend(back)
            self.seats.finished(seat, reply.finished)
            tally.documents += len(reply.finished)
            tally.saved += reply.saved
        return tally

    def write_poison(self, batches: list[pa.RecordBatch] | None = None) -> Tally:
        """Makes batches and the rows of sentenced documents durable."""
        poison, self.seats.poison = self.seats.poison, []
        rows = [
            Completion(*prompt.key, error_kind="poison", error="the engine died each time it was asked this alone")
            for work in poison
            for prompt in work.prompts
        ]
        written = [*(batches or []), *_batches(rows)]
        self.journal.append(written)
        return Tally(sum(batch.num_rows for batch in written), len(poison))

    def _look_for_hangs(self) -> None:
        now_s = time.monotonic()
        for seat in list(self.seats.seats.values()):
            silent_s = now_s - seat.news_s
            if seat.starting and seat.calls and silent_s > self.config.start_timeout_s:
                limit = f"the engine did not start within engine.start_timeout_s = {self.config.start_timeout_s:g}"
                self._died(seat, f"{limit} (on Intel GPUs mostly oneCCL: docs/intel-gpus.md)")
            elif seat.in_flight and not seat.starting and silent_s > self.config.hang_timeout_s:
                self._died(seat, f"no answer for {silent_s:.0f} s (engine.hang_timeout_s)")

    def _died(self, seat: Slot, reason: str) -> None:
        """What the seat had and the journal has not is asked again."""
        held = list(seat.in_flight.values())
        answered: dict[str, list[Completion]] = {}
        for answer in self.journal.answers_of([work.document_id for work in held]) if held else []:
            answered.setdefault(answer.document_id, []).append(answer)
        left = [_without(work, answered.get(work.document_id, [])) for work in held]
        self.seats.died(seat, left, reason)


def _without(work: Work, answers: list[Completion]) -> Work:
    """The work that is left when these answers of the document are on disk."""
    keys = {answer.key for answer in answers}
    return Work(work.document_id, tuple(prompt for prompt in work.prompts if prompt.key not in keys), tuple(answers))


def _batches(rows: list[Completion]) -> list[pa.RecordBatch]:
    return to_table(rows, COMPLETION_SCHEMA).to_batches() if rows else []


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
