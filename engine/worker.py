"""A Ray actor that owns one device and one backend.

One call does both directions: `exchange` takes documents and returns what finished since the last
call, so answers stream out as they finish and the device never waits for a batch.
"""

import asyncio
import os
from pathlib import Path

from core.errors import UserError
from core.garbage import collect_seldom
from engine.asking import Asking
from engine.backends import BackendSettings, make_backend
from engine.guardian import guard_children
from engine.work import Reply, StopRule, WorkBatch


class Worker:
    """Runs in a process of its own, whose environment pins it to its device."""

    def __init__(
        self, backend: str, settings: BackendSettings, log: str, *, stop: StopRule, max_in_flight: int
    ) -> None:
        guard_children()
        _write_output_to(Path(log))
        self._backend = make_backend(backend, settings)
        self._asking = Asking(self._backend, stop=stop, max_in_flight=max_in_flight)

    async def start(self) -> str | None:
        """Loads the model. Returns None, or the message of what the user has to mend."""
        try:
            await self._backend.start()
        except UserError as error:  # returned, because Ray would wrap it into an error of its own
            return str(error)
        collect_seldom()  # behind the start, which has imported all there is
        return None

    async def exchange(self, work: WorkBatch, wait_s: float, give_back: int = 0) -> Reply:
        """As `Asking.exchange`."""
        return await self._asking.exchange(work.documents, wait_s, give_back)

    async def stop(self) -> None:
        """Ends the backend's processes; the actor itself is ended by its owner."""
        await asyncio.to_thread(self._backend.stop)


def _write_output_to(log: Path) -> None:
    """Everything that this process and its children print goes to the run's log, not to the terminal."""
    log.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
