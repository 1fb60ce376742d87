"""Keeps a bounded number of documents in flight on each worker until every document is settled.

Guarantees: each prompt that is asked ends exactly once, as an answer or as an error row, and is counted
only after it is in the journal. The documents in flight on a worker that dies are requeued; a document that
kills workers becomes error rows. Memory does not grow with the number of documents.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from threading import Event
from typing import Any

import pyarrow as pa

from xpoll.core.error_kinds import mend_of
from xpoll.core.errors import EngineError, UnavailableError, UserError
from xpoll.core.records import COMPLETION_SCHEMA, Completion, to_table
from xpoll.engine.journal.journal import Journal
from xpoll.engine.journal.load_metrics import LoadMetrics
from xpoll.engine.slots import Slot, Slots
from xpoll.engine.work import StopRule, Work, WorkBatch, WorkerReply

WAIT_S = 1.0
CALLS_PER_SLOT = 2  # while the dispatcher writes the answers of one call, the worker has the other


@dataclass(slots=True)
class Tally:
    """Counts since the tally before.

    Attributes:
        answers: Answers and error rows that became durable.
        documents: Documents that were settled.
        saved: Prompts of these that were never asked, because the stop rule needed no more.
    """

    answers: int = 0
    documents: int = 0
    saved: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a run; each is the key of the same name in [engine].

    Attributes:
        max_in_flight: Most prompts in one engine.
        start_timeout_s: How long a worker may take to load its model, in seconds.
        hang_timeout_s: How long a worker with documents in flight may go without an answer, in seconds.
    """

    max_in_flight: int
    start_timeout_s: float
    hang_timeout_s: float


@dataclass
class Dispatcher:
    """Runs documents over workers.

    Attributes:
        work: Documents to ask about; read as workers have room.
        slots: The workers, whose models are not loaded yet.
        journal: Where answers become durable.
        stop: Settles documents; the same rule as in the workers.
        limits: Bounds on prompts in flight and on waiting.
        metrics: Records what workers report of queues and tokens.
        drain: Once set, no further document starts; those in flight finish.
        ends_on: Kinds of error rows of which one ends the run and is not kept.
        calls: Pending calls to workers, each with the slot of its worker.
    """

    work: Iterator[Work]
    slots: Slots
    journal: Journal
    stop: StopRule
    limits: Limits
    metrics: LoadMetrics
    drain: Event
    ends_on: frozenset[str] = frozenset()
    calls: dict[Any, Slot] = field(default_factory=dict, init=False)
    _costs: dict[int, int] = field(default_factory=dict, init=False)

    def tallies(self) -> Iterator[Tally]:
        """Runs until every document is settled; yields a tally each time that answers became durable.

        Raises:
            UserError: the first start fails, no device is left, or a backend says that the run has to end; what was
                answered is in the journal.
        """
        while True:
            if self.drain.is_set() and not any(slot.in_flight for slot in self.slots.active.values()):
                yield self.write_poison()
                return
            self.dispatch()
            if not self.calls:
                if self.drain.is_set() or not self.slots.confirm_candidates():
                    yield self.write_poison()
                    return
                continue
            yield self.collect()

    def dispatch(self) -> None:
        """Sends documents to every slot with room, and keeps a call pending on each slot that has work."""
        self.slots.drain_for_isolation()
        # The idle ones first: else a slot that has just given documents up would take them back.
        for slot in sorted(self.slots.active.values(), key=lambda slot: slot.assigned_prompts):
            if slot.starting:
                if not slot.calls and self._has_work():  # a restart at the end of a run need not load the model
                    slot.last_progress_s = time.monotonic()
                    slot.calls.add(slot.worker.start.remote())
                continue
            if self.drain.is_set():
                slot.steal = slot.waiting
            self._send(slot)
            if not slot.in_flight and not self.drain.is_set():
                self._steal_for_idle()
        self.calls = {call: slot for slot in self.slots.active.values() for call in slot.calls}

    def _send(self, slot: Slot) -> None:
        while len(slot.calls) < CALLS_PER_SLOT:
            batch = self._next_for(slot)
            if batch and not slot.in_flight:
                slot.last_progress_s = time.monotonic()  # it was idle until now
            slot.in_flight.update((work.document_id, work) for work in batch)
            if not batch and (slot.calls or len(slot.in_flight) == slot.unwritten):
                return
            slot.calls.add(slot.worker.exchange.remote(WorkBatch(batch), WAIT_S, slot.steal))
            slot.steal = 0

    def _next_for(self, slot: Slot) -> list[Work]:
        if slot.isolated or self.drain.is_set():
            return []
        if slot.poison_candidates and not slot.in_flight and (probe := self._take()) is not None:
            slot.isolated = True  # a document that is not suspected shows whether the device is what kills
            return [probe]
        if self.slots.isolation_queue and not slot.in_flight:
            slot.draining = False
            suspects = self.slots.take_suspects(slot)
            slot.isolated = bool(suspects)
            return suspects
        if slot.draining:
            return []
        batch: list[Work] = []
        room = 2 * min(slot.capacity, self.limits.max_in_flight)  # as much again waits in the worker
        until = min(room, slot.assigned_prompts + room // CALLS_PER_SLOT)
        assigned = slot.assigned_prompts
        while assigned < until and (work := self._take()) is not None:
            batch.append(work)
            assigned += self._cost(work)
        slot.assigned_prompts = assigned
        return batch

    def _cost(self, work: Work) -> int:
        """Prompts of a document that are asked at once."""
        if work.answers:
            return max(1, self.stop.fewest(work.answers, len(work.prompts)))
        number = len(work.prompts)
        if number not in self._costs:
            self._costs[number] = max(1, self.stop.fewest((), number))
        return self._costs[number]

    def _take(self) -> Work | None:
        if self.slots.requeued:
            return self.slots.requeued.popleft()
        return next(self.work, None)

    def _has_work(self) -> bool:
        """Whether any document is queued, here or in a worker that it could be stolen from."""
        if self.drain.is_set():
            return False
        if any(slot.waiting > 1 for slot in self.slots.active.values()):
            return True
        if not (self.slots.requeued or self.slots.isolation_queue) and (work := self._take()) is not None:
            self.slots.requeued.append(work)
        return bool(self.slots.requeued or self.slots.isolation_queue)

    def _steal_for_idle(self) -> None:
        """A slot is idle: steals half of the unstarted prompts of the slot that has most of them."""
        fullest = max(self.slots.active.values(), key=lambda slot: slot.waiting)
        if fullest.waiting > 1 and not fullest.isolated and not fullest.starting:
            fullest.steal = fullest.waiting // 2

    def collect(self) -> Tally:
        """Waits for replies, makes all of them durable at once, and only then counts them.

        Before that, the room that they left in their workers is filled: the disk is waited for while the workers work.

        Raises:
            UserError: the first start fails, no device is left, or a backend says that the run has to end.
            RunFolderError: the disk is full or read-only.
        """
        import ray

        ready, _ = ray.wait(list(self.calls), num_returns=1, timeout=WAIT_S)
        if ready:  # all other replies that are there share the one fsync
            ready, _ = ray.wait(list(self.calls), num_returns=len(self.calls), timeout=0)
        replies: list[tuple[Slot, WorkerReply]] = []
        deaths: dict[int, tuple[Slot, str]] = {}
        for call in ready:
            slot = self.calls[call]
            slot.calls.discard(call)
            try:
                outcome = ray.get(call)
            except ray.exceptions.RayError as error:
                deaths[slot.number] = slot, _reason(error)
                continue
            if slot.starting:
                self._started(slot, outcome)
            else:
                replies.append((slot, outcome))
        replies, refusal = without_kinds(replies, self.ends_on)
        ended = next((reply.ended for _, reply in replies if reply.ended is not None), None)
        self._make_room(replies)
        if refusal is None and ended is None and not deaths:
            self.dispatch()
        tally = self._record(replies)
        if refusal is not None:
            raise EngineError(refusal, mend=mend_of("parameter"))
        if ended:
            raise ended  # after what was answered is durable
        for slot, reason in deaths.values():  # after the replies: answers from before a death are on disk by now
            self._died(slot, reason)
        self._check_timeouts()
        return tally

    def _started(self, slot: Slot, problem: UserError | None) -> None:
        if problem is None:
            slot.starting, slot.last_progress_s, self.slots.ever_ready = False, time.monotonic(), True
            self.slots.ready_s.setdefault(slot.number, slot.last_progress_s)
        elif self.slots.ever_ready and not isinstance(problem, UnavailableError):
            self._died(slot, str(problem))
        else:
            raise problem  # no worker was ever ready, so model or config are at fault

    def _make_room(self, replies: list[tuple[Slot, WorkerReply]]) -> None:
        for slot, reply in replies:
            slot.waiting, slot.capacity = reply.waiting, reply.capacity
            stolen = [slot.in_flight.pop(document_id) for document_id in reply.stolen]
            settled = (slot.in_flight[document_id] for document_id in reply.finished)
            slot.assigned_prompts -= sum(map(self._cost, chain(settled, stolen)))
            slot.unwritten += len(reply.finished)
            self.slots.requeued.extend(stolen)

    def _record(self, replies: list[tuple[Slot, WorkerReply]]) -> Tally:
        tally = self.write_poison([each.answers for _, each in replies if each.answers is not None])
        for slot, reply in replies:
            if reply.answers is not None:
                slot.last_progress_s = time.monotonic()
            self.metrics.update(slot.number, reply)
            slot.unwritten -= len(reply.finished)
            self.slots.finished(slot, reply.finished)
            tally.documents += len(reply.finished)
            tally.saved += reply.saved
        return tally

    def write_poison(self, batches: list[pa.RecordBatch] | None = None) -> Tally:
        """Makes batches of answers, and the error rows of confirmed poison, durable.

        Args:
            batches: Answers as Arrow batches of COMPLETION_SCHEMA.

        Raises:
            RunFolderError: the disk is full or read-only.
        """
        poison, self.slots.poison = self.slots.poison, []
        rows = [
            Completion(*prompt.key, error_kind="poison", error="the engine died each time it was asked this alone")
            for work in poison
            for prompt in work.prompts
        ]
        written = [*(batches or []), *_batches(rows)]
        self.journal.append(written)
        return Tally(sum(batch.num_rows for batch in written), len(poison))

    def _check_timeouts(self) -> None:
        now_s, limits = time.monotonic(), self.limits
        for slot in list(self.slots.active.values()):
            silent_s = now_s - slot.last_progress_s
            if slot.starting and slot.calls and silent_s > limits.start_timeout_s:
                why = f"the engine did not start within engine.start_timeout_s = {limits.start_timeout_s:g}"
                self._died(slot, f"{why} (on Intel GPUs mostly oneCCL: docs/howto/intel-gpus.md)")
            elif slot.in_flight and not slot.starting and silent_s > limits.hang_timeout_s:
                self._died(slot, f"no answer for {silent_s:.0f} s (engine.hang_timeout_s)")

    def _died(self, slot: Slot, reason: str) -> None:
        """Requeues what was in flight on the slot and is not in the journal."""
        lost = list(slot.in_flight.values())
        answered: dict[str, list[Completion]] = {}
        for answer in self.journal.answers_of([work.document_id for work in lost]) if lost else []:
            answered.setdefault(answer.document_id, []).append(answer)
        left = [_without(work, answered.get(work.document_id, [])) for work in lost]
        self.slots.died(slot, left, reason)


def _without(work: Work, answers: list[Completion]) -> Work:
    """The part of a document's work that is left once these answers of it are on disk."""
    keys = {answer.key for answer in answers}
    return Work(work.document_id, tuple(prompt for prompt in work.prompts if prompt.key not in keys), tuple(answers))


def _batches(rows: list[Completion]) -> list[pa.RecordBatch]:
    return to_table(rows, COMPLETION_SCHEMA).to_batches() if rows else []


def _reason(error: Exception) -> str:
    import ray

    if isinstance(error, ray.exceptions.OutOfMemoryError):  # its own words are a page of advice
        return "Ray ended it because this machine's memory was nearly used up"
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


def without_kinds(
    replies: list[tuple[Slot, WorkerReply]], kinds: frozenset[str]
) -> tuple[list[tuple[Slot, WorkerReply]], str | None]:
    """The replies without the error rows of some kinds, and the reason of the first one; None if there is none."""
    kept: list[tuple[Slot, WorkerReply]] = []
    reason: str | None = None
    for slot, reply in replies:
        batch = reply.answers
        if kinds and batch is not None and batch["error_kind"].null_count < batch.num_rows:
            ends = [kind in kinds for kind in batch["error_kind"].to_pylist()]
            if any(ends):
                reason = reason or batch["error"][ends.index(True)].as_py()
                batch = batch.filter(pa.array([not each for each in ends]))
                reply = replace(reply, answers=batch if batch.num_rows else None)
        kept.append((slot, reply))
    return kept, reason
