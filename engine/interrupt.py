"""Ctrl-C and SIGTERM while polling: the first lets what is in flight finish, the second stops at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from xpoll.core.progress import say


@contextmanager
def draining() -> Iterator[threading.Event]:
    """Within the block the first signal sets the event and the second raises KeyboardInterrupt.

    Nothing is lost either way: answers in flight that are not waited for are asked again.
    """
    asked = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        say("stopping: waiting for the answers in flight; once more to stop at once")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
