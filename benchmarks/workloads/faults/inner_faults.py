"""What a session of a poll meets inside of its own process: a disk that is full or read-only, a clock that jumps.

A fault is drawn from a seed and set off by a count, e.g. the seventh write; so it is the same each time.
"""

import errno
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

KINDS = (
    "full at a write",
    "read-only at a write",
    "clock jumps",
    "worker dies",
    "worker hangs",
    "worker slows down",
)
MOST_WRITES = 25
"""Of a small poll, about: a later one is not reached."""
JUMPS_S = (-1e9, -86_400.0, -1.0, 3_600.0, 86_400.0, 4e9)
"""Of the wall clock; the monotonic one does not jump."""


class InnerFault(NamedTuple):
    """One fault.

    Attributes:
        kind: One of KINDS.
        at: The write, look at the clock, or exchange of the first worker, counted from 1, from which on it acts.
        seconds: How far the clock jumps, or how much later the worker answers.
    """

    kind: str
    at: int
    seconds: float = 0.0

    @property
    def of_worker(self) -> bool:
        """Whether a worker does it."""
        return self.kind.startswith("worker")

    def __str__(self) -> str:
        """In words."""
        how = f" by {self.seconds:g} s" if self.seconds else ""
        return f"{self.kind} {self.at}{how}"


def draw_inner(draw: random.Random, *, hang_timeout_s: float) -> InnerFault:
    """A fault for one session.

    Args:
        draw: Source of kind and moment.
        hang_timeout_s: `engine.hang_timeout_s`; a worker that slows down stays below it.
    """
    kind = draw.choice(KINDS)
    if kind == "clock jumps":
        return InnerFault(kind, draw.randint(1, 200), draw.choice(JUMPS_S))
    if kind.startswith("worker"):
        seconds = draw.uniform(0.1, 0.6) * hang_timeout_s if kind == "worker slows down" else 0.0
        return InnerFault(kind, draw.randint(1, 8), seconds)
    return InnerFault(kind, draw.randint(1, MOST_WRITES))


@contextmanager
def inflicted(fault: InnerFault | None) -> Iterator[None]:
    """The fault acts on this process for the time of the block, and beyond it: the process is to end with it."""
    match fault.kind if fault else None:
        case "full at a write":
            with mock.patch("os.fsync", _refusing(os.fsync, fault.at, errno.ENOSPC)):  # type: ignore[union-attr]
                yield
        case "read-only at a write":
            sys.addaudithook(_read_only(fault.at, Path.cwd()))  # type: ignore[union-attr]
            yield
        case "clock jumps":
            with mock.patch("time.time", _jumping(time.time, fault.at, fault.seconds)):  # type: ignore[union-attr]
                yield
        case _:
            yield


def _refusing(function: Callable[..., Any], at: int, number: int) -> Callable[..., Any]:
    calls = count(1)

    def called(*arguments: Any) -> Any:
        if next(calls) >= at:
            raise OSError(number, os.strerror(number))
        return function(*arguments)

    return called


def _read_only(at: int, folder: Path) -> Callable[[str, tuple[Any, ...]], None]:
    """A hook that refuses to open for writing, rename, remove or make anything in a folder from the `at`-th time on."""
    calls = count(1)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        path = arguments[0] if event in ("open", "os.rename", "os.remove", "os.mkdir") else None
        if not isinstance(path, str | bytes) or (event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            return
        where = Path(os.fsdecode(path)).absolute()
        if event == "os.remove" and not where.exists():  # is said first, on a disk of any kind
            return
        if where.is_relative_to(folder) and next(calls) >= at:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    return hook


def _jumping(function: Callable[[], float], at: int, by_s: float) -> Callable[[], float]:
    calls = count(1)
    return lambda: function() + (by_s if next(calls) >= at else 0.0)
