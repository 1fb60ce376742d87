"""Ctrl-C and SIGTERM during a run: the first drains the prompts in flight, the second stops at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from xpoll.core.progress import say


@contextmanager
def draining() -> Iterator[threading.Event]:
    """Within the block the first signal sets the event and the second raises KeyboardInterrupt.

    Nothing is lost either way: prompts in flight that are not waited for are asked again by the next run.

    Yields:
        The event, to be given to the dispatcher.
    """
    drain = threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        if drain.is_set():
            raise KeyboardInterrupt
        drain.set()
        say("stopping: waiting for the answers in flight; once more to stop at once")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield drain
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
