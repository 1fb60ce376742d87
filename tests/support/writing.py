"""A backend of a user's own that writes texts for labels and labels texts, so that a whole circle needs no model.

Which texts go wrong is told by the number of their row, so that a test can count them.
"""

import asyncio
import hashlib
import json
import re
from typing import Any

from xpoll.core.records import Completion, Prompt
from xpoll.engine.backends.backend import Load

WORDS = {
    "praise": ("lovely", "thanks", "brilliant", "pleased", "wonderful", "recommend"),
    "complaint": ("broken", "awful", "refund", "angry", "waiting", "useless"),
}
"""Label to the words that texts written for it have, and no others."""
FILLING = tuple(
    f"{a}{b}" for a in ("ba", "do", "ki", "lu", "me", "no", "pa", "ri") for b in ("tan", "vel", "mor", "sik")
)
REFUSED, LEAKED, COPIED, CUT, WRONG, FAILED = 3, 4, 5, 6, 7, 8
"""What becomes of a labelled text whose number ends in this digit; WRONG ones have the words of the other label."""


class WritingBackend:
    """Answers at once, by the prompt alone."""

    def __init__(self, settings: Any) -> None:
        self._worker, self._device = settings.worker, str(settings.device)

    async def start(self) -> None:
        pass

    async def answer(self, prompt: Prompt) -> Completion:
        text, reason, error = written(prompt)
        where = {"worker": self._worker, "device": self._device, "output_tokens": len((text or "").split())}
        if error:
            return Completion(*prompt.key, error_kind="refused", error=error, **where)
        return Completion(*prompt.key, text=text, finish_reason=reason, **where)

    def load(self) -> Load | None:
        return None

    def stop(self) -> None:
        pass


def written(prompt: Prompt) -> tuple[str | None, str, str | None]:
    """Text, finish reason and error of an answer."""
    asked = prompt.messages[-1]["content"]
    if prompt.answer.choices:
        return label_of(asked), "stop", None
    if prompt.answer.json_schema is not None:
        tool = {"name": "find_part", "description": filled(prompt, 6), "parameters": [], "returns": "a number"}
        return json.dumps(tool), "stop", None
    found = re.search(r'of the category "(\w+)"', asked)
    if found is None:
        return f"{filled(prompt, 12)}.", "stop", None
    label, number = found[1], int(prompt.document_id.rpartition("-")[2]) % 10
    if number == FAILED:
        return None, "", "no answer"
    if number == REFUSED:
        return "I'm sorry, but I can't help with that request.", "stop", None
    if number == COPIED:
        return "the very same words each and every time", "stop", None
    told = next(each for each in WORDS if each != label) if number == WRONG else label
    text = f"{filled(prompt, 5)} {' '.join(WORDS[told][:3])} {filled(prompt, 9)}"
    return f"{label}: {text}" if number == LEAKED else text, "length" if number == CUT else "stop", None


def filled(prompt: Prompt, number: int) -> str:
    """Words that belong to the prompt's key and persona alone."""
    digest = hashlib.sha256(f"{prompt.key}{number}".encode()).digest()
    return " ".join(FILLING[byte % len(FILLING)] + str(byte) for byte in digest[:number])


def label_of(asked: str) -> str:
    """The label whose words stand in a text."""
    return max(WORDS, key=lambda label: sum(word in asked for word in WORDS[label]))


class SlowWritingBackend(WritingBackend):
    """Takes some time for each answer, so that a run can be killed between two of them."""

    async def answer(self, prompt: Prompt) -> Completion:
        await asyncio.sleep(0.1)
        return await super().answer(prompt)
