"""A user's own backend, `engine.backend = "reckless_vllm:RecklessVllm"` where it lies beside a job: one text ends it.

vLLM's engine is in the worker's process, so that both end, with every other prompt in flight.
"""

import os
import signal

from xpoll.core.records import Completion, Prompt
from xpoll.engine.backends.vllm.in_process import VllmBackend

POISON = "the text that kills"


class RecklessVllm(VllmBackend):
    """vLLM, whose process ends with the poison document, as by a fault in a kernel."""

    async def answer(self, prompt: Prompt) -> Completion:
        if any(POISON in message["content"] for message in prompt.messages):
            os.kill(os.getpid(), signal.SIGKILL)
        return await super().answer(prompt)
