"""The documents that a worker is asking about: which prompt goes to the backend next, and what came back.

No part of the actor's own class: Ray wraps every method of that, which costs each prompt more than asking.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from xpoll.core.records import COMPLETION_SCHEMA, Completion, Prompt, to_table
from xpoll.engine.backends.backend import Backend, EngineDeadError, Load
from xpoll.engine.work import StopRule, Work, WorkerReply

LEAST_WAITING = 128  # prompts that wait inside the engine, so that no step of it begins with too few


@dataclass(slots=True)
class OpenDocument:
    """A document that is being asked about; `tasks` by the prompt that each asks."""

    prompts: deque[Prompt]
    answers: list[Completion]
    in_flight: int = 0
    tasks: dict[int, asyncio.Task[None]] = field(default_factory=dict)


class Scheduler:
    """Streams prompts into a backend, as many at a time as it takes, each document as its stop rule needs.

    Args:
        backend: Started before the first exchange.
        stop: When a document needs no more answers.
        max_in_flight: Bound on the prompts in the backend.
    """

    def __init__(self, backend: Backend, *, stop: StopRule, max_in_flight: int) -> None:
        self._backend = backend
        self._stop, self._max_in_flight = stop, max_in_flight
        self._open: dict[str, OpenDocument] = {}
        self._next: deque[Prompt] = deque()  # needed now, no place yet
        self._running = 0
        self._places = max_in_flight
        self._answers: list[Completion] = []
        self._finished: list[str] = []
        self._saved = 0
        self._news = asyncio.Event()
        self._dead: str | None = None

    async def exchange(self, work: Sequence[Work], wait_s: float, give_back: int = 0) -> WorkerReply:
        """Takes documents; returns what finished, at the latest after `wait_s` (then perhaps nothing).

        Args:
            work: Documents to ask about.
            wait_s: How long to wait for news.
            give_back: How many documents that are not begun to give back, if there are as many.

        Raises:
            EngineDeadError: the engine is gone; every document that is not finished is to be asked again.
        """
        for document in work:
            opened = OpenDocument(deque(document.prompts), list(document.answers))
            self._open[document.document_id] = opened
            self._need(document.document_id, opened)
        given_back = self._take_back(give_back)
        self._places = places(self._load_of_engine(), self._max_in_flight)
        self._fill()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._has_news(), wait_s)
        self._news.clear()
        if self._dead is not None and not self._answers:
            raise EngineDeadError(self._dead)
        return self._reply(given_back)

    async def _has_news(self) -> None:
        """Two exchanges may wait at a time; the one that wakes first takes all there is."""
        while not (self._answers or self._finished or self._dead):
            self._news.clear()
            await self._news.wait()

    def _take_back(self, number: int) -> list[str]:
        """Documents of which nothing was asked yet, the last ones first; they are no longer this worker's."""
        given_back: list[str] = []
        for prompt in reversed(self._next):
            if len(given_back) >= number:
                break
            document = self._open.get(prompt.document_id)
            if document is not None and not document.tasks and not document.answers:
                given_back.append(prompt.document_id)
                del self._open[prompt.document_id]
        self._next = deque(prompt for prompt in self._next if prompt.document_id in self._open)
        return given_back

    def _reply(self, given_back: list[str]) -> WorkerReply:
        load = self._load_of_engine()
        self._places = places(load, self._max_in_flight)
        answers, self._answers = self._answers, []
        finished, self._finished = self._finished, []
        saved, self._saved = self._saved, 0
        batch = to_table(answers, COMPLETION_SCHEMA).combine_chunks().to_batches()[0] if answers else None
        return WorkerReply(batch, finished, saved, self._running, len(self._next), given_back, self._places, load)

    def _load_of_engine(self) -> Load | None:
        try:
            return self._backend.load()
        except EngineDeadError as error:
            self._dead = self._dead or str(error)
            return None

    def _need(self, document_id: str, document: OpenDocument) -> None:
        """Queues what the rule still needs of a document, or closes it and aborts what is in flight."""
        left = len(document.prompts) + document.in_flight
        fewest = self._stop.fewest(document.answers, left)
        if fewest == 0:
            for task in document.tasks.values():
                task.cancel()
            self._saved += left
            self._finished.append(document_id)
            del self._open[document_id]
            self._news.set()
            return
        for _ in range(fewest - document.in_flight):
            self._next.append(document.prompts.popleft())
            document.in_flight += 1

    def _fill(self) -> None:
        while self._next and self._running < self._places and self._dead is None:
            prompt = self._next.popleft()
            document = self._open.get(prompt.document_id)
            if document is None:  # it was settled while this prompt waited for a place
                continue
            self._running += 1
            # Held here too: the loop itself holds tasks only weakly.
            document.tasks[id(prompt)] = asyncio.create_task(self._ask(prompt, document))

    async def _ask(self, prompt: Prompt, document: OpenDocument) -> None:
        try:
            if prompt.problem is not None:
                answer = Completion(*prompt.key, error_kind="document", error=prompt.problem)
            else:
                answer = await self._backend.answer(prompt)
        except asyncio.CancelledError:
            self._running -= 1
            document.tasks.pop(id(prompt), None)
            self._fill()
            raise
        except EngineDeadError as error:
            self._dead = str(error)
            self._news.set()
            return
        except Exception as error:  # a bug in one answer must not cost the others: it is that row's error
            answer = Completion(*prompt.key, error_kind="backend", error=f"{type(error).__name__}: {error}")
        self._running -= 1
        self._answers.append(answer)
        document.answers.append(answer)
        document.in_flight -= 1
        del document.tasks[id(prompt)]
        self._need(prompt.document_id, document)
        self._fill()
        self._news.set()


def places(load: Load | None, most: int) -> int:
    """How many prompts the engine gets, running and waiting: so many that its own queue never runs dry.

    What does not wait there waits in this worker, from where a faster one can take it. The number
    follows the batch: an engine that runs short of memory for its KV cache runs fewer and is given fewer.

    Args:
        load: What the engine said of its queue last; without it, it gets `most`.
        most: Bound on the answer.
    """
    if load is None:
        return most
    return min(most, load.running + max(LEAST_WAITING, load.running // 2))
