"""Schedules a worker's documents: which prompt goes to the backend next, and which documents are settled.

Answers leave as Arrow batches. A backend that answers without waiting is asked about all that is queued at once, and
what it says stays a batch; any other is asked about each prompt by itself.

A class of its own and not part of the actor's: Ray wraps every method of an actor's class, which would cost
each prompt more than the scheduling.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import pyarrow as pa

from xpoll.core.errors import UserError
from xpoll.core.records import COMPLETION_SCHEMA, Completion, Prompt, to_table
from xpoll.engine.answer import answer_of
from xpoll.engine.answer_batch import answers_at_once
from xpoll.engine.backends.backend import AnswersAtOnce, Backend, EngineDeadError, Load
from xpoll.engine.work import NeverStop, StopRule, Work, WorkerReply, light_answers

MIN_QUEUED = 128  # prompts to keep queued inside the engine, so that no step starts with a batch that is too small


@dataclass(slots=True)
class OpenDocument:
    """A document in flight on this worker.

    Attributes:
        prompts: Its prompts, in order.
        answers: Answers so far, those of earlier runs included, as far as the stop rule reads any.
        tasks: The running requests, by the identity of their prompt.
        scheduled: How many of the prompts were scheduled.
        in_flight: Prompts that are scheduled and not answered.
    """

    prompts: tuple[Prompt, ...]
    answers: list[Completion]
    tasks: dict[int, asyncio.Task[None]]
    scheduled: int = 0
    in_flight: int = 0

    @property
    def is_begun(self) -> bool:
        """Whether the backend has been asked any of it, now or in an earlier run."""
        return bool(self.tasks or self.answers or self.in_flight < self.scheduled)


class Scheduler:
    """Streams prompts into a backend, as many at a time as it takes, and per document as its stop rule needs.

    Args:
        backend: Started before the first exchange.
        stop: When a document needs no more answers.
        max_in_flight: Most prompts in the backend at a time.
    """

    def __init__(self, backend: Backend, *, stop: StopRule, max_in_flight: int) -> None:
        self._backend = backend
        self._stop, self._max_in_flight = stop, max_in_flight
        self._reads_answers = not isinstance(stop, NeverStop)
        self._at_once = backend if isinstance(backend, AnswersAtOnce) else None
        self._open: dict[str, OpenDocument] = {}
        self._queue: deque[Prompt] = deque()  # needed now, waiting for room in the engine
        self._running = 0
        self._capacity = max_in_flight
        self._answers: list[Completion] = []
        self._batches: list[pa.RecordBatch] = []
        self._finished: list[str] = []
        self._saved = 0
        self._updated = asyncio.Event()
        self._dead: str | None = None
        self._ended: UserError | None = None

    async def exchange(self, work: Sequence[Work], wait_s: float, steal: int = 0) -> WorkerReply:
        """Takes documents; returns answers and finished documents as soon as there are any.

        Args:
            work: Documents to ask about.
            wait_s: Longest wait for an answer, in seconds; the reply may then be empty.
            steal: Most documents to return unstarted, for another worker.

        Raises:
            EngineDeadError: the engine is gone; every document in flight has to be requeued.
        """
        for document_id, prompts, answers in work:
            self._open[document_id] = opened = OpenDocument(prompts, [*answers], {})
            self._schedule(document_id, opened)
        stolen = self._release(steal)
        self._capacity = engine_capacity(self._engine_load(), self._max_in_flight)
        self._ask_at_once()
        self._fill()
        if not self._is_updated():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._has_update(), wait_s)
        self._updated.clear()
        if self._dead is not None and not (self._answers or self._batches):
            raise EngineDeadError(self._dead)
        return self._reply(stolen)

    async def abandon(self) -> None:
        """Drops every document that is not settled, and aborts its prompts in the backend."""
        tasks = [task for document in self._open.values() for task in document.tasks.values()]
        self._queue.clear()
        self._open.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _has_update(self) -> None:
        """Two exchanges may wait at a time; the first to wake takes everything."""
        while not self._is_updated():
            self._updated.clear()
            await self._updated.wait()

    def _is_updated(self) -> bool:
        return bool(self._answers or self._batches or self._finished or self._dead or self._is_over())

    def _is_over(self) -> bool:
        """Whether the run has to end and nothing is in the backend any more: what is answered by then is kept."""
        return self._ended is not None and self._running == 0

    def _release(self, number: int) -> list[str]:
        """Removes up to `number` unstarted documents, the last ones first, and returns their ids."""
        released: list[str] = []
        for prompt in reversed(self._queue):
            if len(released) >= number:
                break
            document = self._open.get(prompt.document_id)
            if document is not None and not document.is_begun:
                released.append(prompt.document_id)
                del self._open[prompt.document_id]
        self._queue = deque(prompt for prompt in self._queue if prompt.document_id in self._open)
        return released

    def _reply(self, stolen: list[str]) -> WorkerReply:
        load = self._engine_load()
        self._capacity = engine_capacity(load, self._max_in_flight)
        finished, self._finished = self._finished, []
        saved, self._saved = self._saved, 0
        ended = self._ended if self._is_over() else None
        waiting = len(self._queue)
        answers = self._taken_answers()
        return WorkerReply(answers, finished, saved, self._running, waiting, stolen, self._capacity, load, ended)

    def _taken_answers(self) -> pa.RecordBatch | None:
        answers, self._answers = self._answers, []
        batches, self._batches = self._batches, []
        if answers:
            batches += to_table(answers, COMPLETION_SCHEMA).combine_chunks().to_batches()
        return pa.concat_batches(batches) if batches else None

    def _engine_load(self) -> Load | None:
        try:
            return self._backend.load()
        except EngineDeadError as error:
            self._dead = self._dead or str(error)
            return None

    def _schedule(self, document_id: str, document: OpenDocument) -> None:
        """Queues what the stop rule still needs of a document, or settles it and aborts its prompts in flight."""
        left = len(document.prompts) - document.scheduled + document.in_flight
        fewest = self._stop.fewest(document.answers, left)
        if fewest == 0:
            for task in document.tasks.values():
                task.cancel()
            self._saved += left
            self._finished.append(document_id)
            del self._open[document_id]
            self._updated.set()
            return
        if (more := fewest - document.in_flight) > 0:
            self._queue.extend(document.prompts[document.scheduled : document.scheduled + more])
            document.scheduled += more
            document.in_flight += more

    def _ask_at_once(self) -> None:
        """Asks a backend that answers without waiting about all that is queued, and about what is queued then."""
        while self._at_once is not None and self._queue and self._dead is None and self._ended is None:
            prompts = self._next_prompts(max(1, self._capacity))
            try:
                batch = answers_at_once(self._at_once, prompts) if prompts else None
            except EngineDeadError as error:
                self._dead = str(error)
                return
            except UserError as error:
                self._ended = self._ended or error
                return
            if batch is None:
                self._queue.extendleft(reversed(prompts))
                self._at_once = self._at_once if not prompts else None
                return
            self._batches.append(batch)
            self._settle(prompts, batch)

    def _next_prompts(self, most: int) -> list[Prompt]:
        prompts: list[Prompt] = []
        while self._queue and len(prompts) < most:
            prompt = self._queue.popleft()
            if prompt.document_id in self._open:  # else it was settled while this prompt was queued
                prompts.append(prompt)
        return prompts

    def _settle(self, prompts: Sequence[Prompt], batch: pa.RecordBatch) -> None:
        if self._reads_answers:
            for answer in light_answers(batch):
                self._open[answer.document_id].answers.append(answer)
        touched: dict[str, OpenDocument] = {}
        for prompt in prompts:
            document_id = prompt.document_id
            touched[document_id] = document = self._open[document_id]
            document.in_flight -= 1
        for document_id, document in touched.items():
            if document.in_flight or document.scheduled < len(document.prompts):
                self._schedule(document_id, document)
            else:
                self._finished.append(document_id)
                del self._open[document_id]

    def _fill(self) -> None:
        while self._queue and self._running < self._capacity and self._dead is None and self._ended is None:
            prompt = self._queue.popleft()
            document = self._open.get(prompt.document_id)
            if document is None:  # it was settled while this prompt was queued
                continue
            self._running += 1
            # Kept in the document as well: the event loop itself keeps only weak references to tasks.
            document.tasks[id(prompt)] = asyncio.create_task(self._ask(prompt, document))

    async def _ask(self, prompt: Prompt, document: OpenDocument) -> None:
        try:
            answer = await answer_of(self._backend, prompt)
        except asyncio.CancelledError:
            self._running -= 1
            document.tasks.pop(id(prompt), None)
            self._fill()
            raise
        except EngineDeadError as error:
            self._dead = str(error)
            self._updated.set()
            return
        except UserError as error:
            self._ended = self._ended or error
            self._running -= 1
            self._updated.set()
            return
        self._running -= 1
        self._answers.append(answer)
        if self._reads_answers:
            document.answers.append(answer)
        document.in_flight -= 1
        del document.tasks[id(prompt)]
        self._schedule(prompt.document_id, document)
        self._fill()
        self._updated.set()


def engine_capacity(load: Load | None, limit: int) -> int:
    """How many prompts to keep in the engine, running and queued, so that its own queue never runs dry.

    All other prompts wait in this worker, from where an idle worker can steal them. The number follows the
    running batch: an engine short of KV cache runs fewer prompts and gets fewer.

    Args:
        load: The engine's last report of its queue; without one the capacity is `limit`.
        limit: Upper bound.
    """
    if load is None:
        return limit
    return min(limit, load.running + max(MIN_QUEUED, load.running // 2))
