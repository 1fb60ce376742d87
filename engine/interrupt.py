"""Ctrl-C, SIGTERM and SIGHUP during a run: the first drains the prompts in flight, the second stops at once."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from xpoll.core.machine.processes import TO_THE_DRIVER
from xpoll.core.progress import leave_terminal, say

DRAIN_S = 15.0
"""How long answers in flight are waited for. Slurm and Kubernetes kill 30 s after SIGTERM; stopping the workers and
sealing the journal take some of them."""

Handler = Callable[[int, FrameType | None], None]


class Drain(threading.Event):
    """Set by the first signal, once there is something in flight to wait for.

    Attributes:
        asking: Prompts may be in flight; until then a signal stops at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.asking = False
        self._until_s = float("inf")

    def set(self) -> None:
        """Begins to drain."""
        self._until_s = time.monotonic() + DRAIN_S
        super().set()

    @property
    def is_over(self) -> bool:
        """Whether the answers in flight have been waited for long enough."""
        return time.monotonic() > self._until_s


@contextmanager
def draining() -> Iterator[Drain]:
    """Within the block the first signal drains, and the second raises KeyboardInterrupt.

    Nothing is lost either way: prompts in flight that are not waited for are asked again by the next run.

    Yields:
        The event, to be given to the dispatcher.

    Raises:
        KeyboardInterrupt: a signal came, and the block ended without an error.
    """
    drain = Drain()

    def handle(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            leave_terminal()
        if drain.is_set() or not drain.asking:
            raise KeyboardInterrupt
        drain.set()
        say(f"stopping: waiting for the answers in flight, {DRAIN_S:.0f} s at most; once more to stop at once")

    with handled_by(handle):
        yield drain
        if drain.is_set():
            raise KeyboardInterrupt


@contextmanager
def handled_by(handler: Handler) -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP go to the handler within the block.

    SIGHUP stays ignored where it is, as under nohup. Only the main thread can set handlers; in another one nothing
    changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = {signal.SIGINT, *TO_THE_DRIVER}
    before = {number: signal.getsignal(number) for number in numbers}
    for number, handler_before in before.items():
        if number != signal.SIGHUP or handler_before is not signal.SIG_IGN:
            signal.signal(number, handler)
    try:
        yield
    finally:
        for number, handler_before in before.items():
            signal.signal(number, handler_before)


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Handlers that are set within the block, e.g. by a library, are undone after it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *TO_THE_DRIVER)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
