"""A backend that answers every prompt with an empty list: nothing fits, nothing is quoted."""

from typing import Any

from xpoll.core.records import Completion, Prompt
from xpoll.engine.backends.backend import Load


class SilentBackend:
    """Answers at once."""

    def __init__(self, settings: Any) -> None:
        self._device = str(settings.device)

    async def start(self) -> None:
        pass

    async def answer(self, prompt: Prompt) -> Completion:
        return Completion(*prompt.key, text="[]", finish_reason="stop", device=self._device)

    def load(self) -> Load | None:
        return None

    def stop(self) -> None:
        pass
