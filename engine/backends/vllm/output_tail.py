"""Keeps the last lines that this process and its children print, and passes all of them on.

vLLM's engine runs in a child process that prints why it dies; the parent only learns that it died.
"""

import os
import threading
import time
from collections import deque

from xpoll.core.secrets import struck_bytes

KEPT_LINES = 400
ARRIVES_WITHIN_S = 0.1


class OutputTail:
    """The tail of standard output and standard error, from its creation on, for the life of the process."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        reading, writing = os.pipe()
        self._onward = os.dup(2)
        os.dup2(writing, 1)
        os.dup2(writing, 2)
        os.close(writing)
        threading.Thread(target=self._listen, args=(reading,), daemon=True, name="output tail").start()

    def _listen(self, reading: int) -> None:
        with os.fdopen(reading, "rb") as lines:
            for line in lines:
                line = struck_bytes(line)
                os.write(self._onward, line)
                self._lines.append(line.decode(errors="replace").rstrip())

    def text(self) -> str:
        """The last KEPT_LINES lines; waits ARRIVES_WITHIN_S, so that the output of a child that just died is there."""
        time.sleep(ARRIVES_WITHIN_S)
        return "\n".join(self._lines)

    def clear(self) -> None:
        """Forgets the lines so far."""
        self._lines.clear()
