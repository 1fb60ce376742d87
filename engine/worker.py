"""A Ray actor that owns one device and one backend.

One call carries both directions: `exchange` takes documents and returns the answers since the last call, so
answers stream out as they finish and the device never waits for a batch.
"""

import asyncio
import os
import signal
from collections.abc import Coroutine
from pathlib import Path
from threading import Thread
from types import FrameType
from typing import Any, TypeVar

from xpoll.core.errors import UserError
from xpoll.core.machine.gc_tuning import collect_seldom
from xpoll.core.machine.processes import TO_THE_DRIVER, guard_children
from xpoll.core.records import COMPLETION_SCHEMA, to_table
from xpoll.core.secrets import strike_streams
from xpoll.engine.backends.backend import BackendSettings
from xpoll.engine.backends.registry import make_backend
from xpoll.engine.scheduler import Scheduler
from xpoll.engine.work import StopRule, WorkBatch, WorkerReply

Outcome = TypeVar("Outcome")


class Worker:
    """One backend on one device, as coroutines; the environment of its process pins it to the device.

    Args:
        backend: Name of the backend, or "module:Class".
        settings: What the backend starts with.
        log: File that gets everything this process and its children print.
        stop: When a document needs no more answers.
        max_in_flight: Most prompts in the backend at a time.
    """

    def __init__(
        self, backend: str, settings: BackendSettings, log: str, *, stop: StopRule, max_in_flight: int
    ) -> None:
        guard_children()
        _write_output_to(Path(log))
        self._backend = make_backend(backend, settings)
        self._scheduler = Scheduler(self._backend, stop=stop, max_in_flight=max_in_flight)
        self._is_started = False

    async def start(self) -> UserError | None:
        """Loads the model, once. Returns None, or an error that the user can fix."""
        if self._is_started:
            return None
        try:
            await self._backend.start()
        except UserError as error:  # returned, because Ray would wrap it into an error of its own
            return error
        to_table([], COMPLETION_SCHEMA)  # imports what Arrow looks for, half a second that the first answers would take
        collect_seldom()  # after the start, which has imported everything
        self._is_started = True
        return None

    async def begin(self, log: str, *, stop: StopRule, max_in_flight: int) -> None:
        """Goes over to another run: what is left of the one before is dropped; the backend and its model stay."""
        _write_output_to(Path(log))
        await self._scheduler.abandon()
        self._scheduler = Scheduler(self._backend, stop=stop, max_in_flight=max_in_flight)

    async def exchange(self, work: WorkBatch, wait_s: float, steal: int = 0) -> WorkerReply:
        """As `Scheduler.exchange`.

        Raises:
            EngineDeadError: the engine is gone; every document in flight has to be requeued.
        """
        return await self._scheduler.exchange(work.documents, wait_s, steal)

    async def stop(self) -> None:
        """Ends the backend's processes; the actor itself is killed by its owner."""
        await asyncio.to_thread(self._backend.stop)


class WorkerActor:
    """The Ray actor around a `Worker`, whose event loop runs in a thread of its own; calls block.

    Not an asyncio actor: Ray wakes the main thread of those a hundred times per second to check for signals,
    and where the engine computes on all cores, each wake-up interrupts it. An actor within a blocking call is
    left alone.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        # Blocked here as in all of Ray; what the backend starts must be able to take it, or would have to be killed.
        for number in TO_THE_DRIVER:
            signal.signal(number, _left_to_the_driver)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, TO_THE_DRIVER)
        self._loop = asyncio.new_event_loop()
        Thread(target=self._loop.run_forever, name="worker", daemon=True).start()
        self._worker = Worker(*arguments, **named)

    def start(self) -> UserError | None:
        """As `Worker.start`."""
        return self._done(self._worker.start())

    def begin(self, log: str, *, stop: StopRule, max_in_flight: int) -> None:
        """As `Worker.begin`; after the calls before it, as all."""
        self._done(self._worker.begin(log, stop=stop, max_in_flight=max_in_flight))

    def exchange(self, work: WorkBatch, wait_s: float, steal: int = 0) -> WorkerReply:
        """As `Worker.exchange`; calls run one after the other."""
        return self._done(self._worker.exchange(work, wait_s, steal))

    def stop(self) -> None:
        """As `Worker.stop`."""
        self._done(self._worker.stop())

    def _done(self, coroutine: Coroutine[Any, Any, Outcome]) -> Outcome:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


def _left_to_the_driver(_number: int, _frame: FrameType | None) -> None:
    """A handler and not SIG_IGN, which what the backend starts would inherit."""


def _write_output_to(log: Path) -> None:
    """Redirects the output of this process and its children to the run's log."""
    log.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    strike_streams()
