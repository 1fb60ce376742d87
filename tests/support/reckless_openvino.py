"""A backend of a user's own, as `engine.backend = "module:Class"` names it: one document ends OpenVINO's process."""

import os
import signal

from xpoll.core.records import Completion, Prompt
from xpoll.engine.backends.openvino.backend import OpenVinoBackend

POISON = "doc-1"


class RecklessOpenVino(OpenVinoBackend):
    """OpenVINO GenAI, whose process ends with the poison document and others in flight, as by a fault in a driver."""

    async def answer(self, prompt: Prompt) -> Completion:
        if prompt.document_id == POISON:
            os.kill(os.getpid(), signal.SIGKILL)
        return await super().answer(prompt)
