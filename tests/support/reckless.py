"""A backend of a user's own, as `engine.backend = "module:Class"` names it: one document kills vLLM's engine core.

A prompt's own seed does that on some CPUs ("CPU Generator does not use offset") and not on others, so
here the process is killed outright.
"""

from typing import Any

import psutil

from xpoll.core.records import Completion, Prompt
from xpoll.engine.backends.vllm.in_process import VllmBackend

POISON = "doc-1"


class RecklessBackend(VllmBackend):
    """vLLM, whose engine core ends while the poison document and others are in flight."""

    async def answer(self, prompt: Prompt) -> Completion:
        if prompt.document_id == POISON:
            cores = [child for child in _below() if "EngineCore" in " ".join(child.cmdline())]
            assert cores, "vLLM's engine core has another name now"
            for core in cores:
                core.kill()
        return await super().answer(prompt)


def _below() -> Any:
    return psutil.Process().children(recursive=True)
