"""Keeps the last lines that this process and its children print, and passes all of them on.

vLLM's engine runs in a child that prints why it dies; the parent is only told that it died.
"""

import os
import threading
import time
from collections import deque

KEPT_LINES = 400
ARRIVES_WITHIN_S = 0.1


class LastWords:
    """Listens on standard output and error from its creation on, for as long as the process lives."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        reading, writing = os.pipe()
        self._onward = os.dup(2)
        os.dup2(writing, 1)
        os.dup2(writing, 2)
        os.close(writing)
        threading.Thread(target=self._listen, args=(reading,), daemon=True, name="last words").start()

    def _listen(self, reading: int) -> None:
        with os.fdopen(reading, "rb") as lines:
            for line in lines:
                os.write(self._onward, line)
                self._lines.append(line.decode(errors="replace").rstrip())

    def text(self) -> str:
        """The last lines; of a child that has just died, all it printed, as this waits for it to come through."""
        time.sleep(ARRIVES_WITHIN_S)
        return "\n".join(self._lines)

    def clear(self) -> None:
        """Forgets what was printed so far."""
        self._lines.clear()
