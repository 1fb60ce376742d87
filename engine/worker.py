"""A Ray actor that owns one device and one backend.

One call does both directions: `exchange` takes documents and returns what finished since the last
call, so answers stream out as they finish and the device never waits for a batch.
"""

import asyncio
import os
from collections.abc import Coroutine
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

from xpoll.core.errors import UserError
from xpoll.core.gc_tuning import collect_seldom
from xpoll.core.processes import guard_children
from xpoll.engine.backends.registry import BackendSettings, make_backend
from xpoll.engine.scheduler import Scheduler
from xpoll.engine.work import StopRule, WorkBatch, WorkerReply

Outcome = TypeVar("Outcome")


class Worker:
    """What a device does, as coroutines; its process has the environment that pins it."""

    def __init__(
        self, backend: str, settings: BackendSettings, log: str, *, stop: StopRule, max_in_flight: int
    ) -> None:
        guard_children()
        _write_output_to(Path(log))
        self._backend = make_backend(backend, settings)
        self._asking = Scheduler(self._backend, stop=stop, max_in_flight=max_in_flight)

    async def start(self) -> str | None:
        """Loads the model. Returns None, or the message of what the user has to mend."""
        try:
            await self._backend.start()
        except UserError as error:  # returned, because Ray would wrap it into an error of its own
            return str(error)
        collect_seldom()  # behind the start, which has imported all there is
        return None

    async def exchange(self, work: WorkBatch, wait_s: float, give_back: int = 0) -> WorkerReply:
        """As `Asking.exchange`."""
        return await self._asking.exchange(work.documents, wait_s, give_back)

    async def stop(self) -> None:
        """Ends the backend's processes; the actor itself is ended by its owner."""
        await asyncio.to_thread(self._backend.stop)


class WorkerActor:
    """The Ray actor around a worker: one call at a time, which blocks while the worker's own thread goes on.

    Ray wakes the main thread of an actor of coroutines a hundred times a second, to look for signals, and not
    that of an actor in the middle of a call. Where the engine computes on all cores, each waking stops it.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self._loop = asyncio.new_event_loop()
        Thread(target=self._loop.run_forever, name="worker", daemon=True).start()
        self._worker = Worker(*arguments, **named)

    def start(self) -> str | None:
        """As `Worker.start`."""
        return self._done(self._worker.start())

    def exchange(self, work: WorkBatch, wait_s: float, give_back: int = 0) -> WorkerReply:
        """As `Worker.exchange`; one that is called meanwhile waits for this one's end."""
        return self._done(self._worker.exchange(work, wait_s, give_back))

    def stop(self) -> None:
        """As `Worker.stop`."""
        self._done(self._worker.stop())

    def _done(self, coroutine: Coroutine[Any, Any, Outcome]) -> Outcome:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


def _write_output_to(log: Path) -> None:
    """Everything that this process and its children print goes to the run's log, not to the terminal."""
    log.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
