"""Merges prompts that differ only in their sample into one request with `n`.

A backend gets one prompt at a time. Those that arrive in the same turn of the event loop and have the same
document, persona, messages, sampling and schema become one request.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from xpoll.core.records import Prompt

Outcome = dict[str, Any]
"""Fields of a Completion."""


@dataclass(slots=True)
class _Group:
    prompt: Prompt
    waiting: list[asyncio.Future[Outcome]] = field(default_factory=list)
    task: "asyncio.Task[None] | None" = None

    def fits(self, prompt: Prompt) -> bool:
        """Whether a prompt differs from the group's only in its sample."""
        return prompt._replace(sample=self.prompt.sample) == self.prompt


class SharedRequests:
    """Collects prompts during one turn of the event loop.

    Args:
        ask: Sends a request for a number of answers to a prompt; returns that many outcomes.
    """

    def __init__(self, ask: Callable[[Prompt, int], Awaitable[list[Outcome]]]) -> None:
        self._ask = ask
        self._open: dict[tuple[str, str], list[_Group]] = {}

    async def outcome(self, prompt: Prompt) -> Outcome:
        """The outcome of one prompt; its request is cancelled once nobody waits for any of its answers."""
        loop = asyncio.get_running_loop()
        place: asyncio.Future[Outcome] = loop.create_future()
        groups = self._open.setdefault((prompt.document_id, prompt.persona_id), [])
        group = next((group for group in groups if group.fits(prompt)), None)
        if group is None:
            group = _Group(prompt)
            groups.append(group)
            loop.call_soon(self._send, group)  # after all callbacks that are ready now
        group.waiting.append(place)
        try:
            return await place
        except asyncio.CancelledError:
            if group.task is not None and all(other.done() for other in group.waiting):
                group.task.cancel()
            raise

    def _send(self, group: _Group) -> None:
        key = (group.prompt.document_id, group.prompt.persona_id)
        self._open[key].remove(group)
        if not self._open[key]:
            del self._open[key]
        group.waiting = [place for place in group.waiting if not place.done()]
        if group.waiting:
            group.task = asyncio.get_running_loop().create_task(self._answer(group))

    async def _answer(self, group: _Group) -> None:
        try:
            outcomes = await self._ask(group.prompt, len(group.waiting))
        except Exception as error:
            for place in group.waiting:
                if not place.done():
                    place.set_exception(error)
            return
        for place, outcome in zip(group.waiting, outcomes, strict=True):
            if not place.done():
                place.set_result(outcome)
