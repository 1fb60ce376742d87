"""A Ray actor that owns one device and one backend.

One call does both directions: `exchange` takes new prompts and returns the answers finished since
the last call, so answers stream out as they finish and the device never waits for a batch.
"""

import asyncio
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from core.errors import UserError
from core.records import Completion, Prompt
from engine.backends import BACKENDS, BackendSettings, EngineDeadError
from engine.guardian import guard_children

MAX_ANSWERS_AN_EXCHANGE = 4096


class Worker:
    """Runs in a process of its own, whose environment pins it to its device."""

    def __init__(self, backend: str, settings: BackendSettings, log: str) -> None:
        guard_children()
        _write_output_to(Path(log))
        self._backend = BACKENDS[backend](settings)
        self._finished: asyncio.Queue[Completion] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._dead: str | None = None

    async def start(self) -> str | None:
        """Loads the model. Returns None, or the message of what the user has to mend."""
        try:
            await self._backend.start()
        except UserError as error:  # returned, because Ray would wrap it into an error of its own
            return str(error)
        return None

    async def exchange(self, prompts: Sequence[Prompt], wait_s: float) -> list[Completion]:
        """Takes prompts; returns finished answers, at the latest after `wait_s` (then perhaps none).

        Raises:
            EngineDeadError: the engine is gone; every prompt without an answer has to be asked again.
        """
        for prompt in prompts:
            task = asyncio.create_task(self._answer(prompt))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        answers: list[Completion] = []
        with suppress(TimeoutError):
            answers.append(await asyncio.wait_for(self._finished.get(), wait_s))
        while not self._finished.empty() and len(answers) < MAX_ANSWERS_AN_EXCHANGE:
            answers.append(self._finished.get_nowait())
        if self._dead is not None and not answers:
            raise EngineDeadError(self._dead)
        return answers

    async def _answer(self, prompt: Prompt) -> None:
        try:
            if prompt.problem is not None:
                completion = Completion(*prompt.key, error_kind="document", error=prompt.problem)
            else:
                completion = await self._backend.answer(prompt)
        except EngineDeadError as error:
            self._dead = str(error)
            return
        except Exception as error:  # a bug in one answer must not cost the others: it is that row's error
            completion = Completion(*prompt.key, error_kind="backend", error=f"{type(error).__name__}: {error}")
        self._finished.put_nowait(completion)

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
