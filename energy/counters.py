"""The interface of a source of energy figures: counters of joules, or the reason why there are none."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

MICRO = 1e-6


class CounterError(Exception):
    """A counter cannot be read; the message has the reason."""


class Counter(Protocol):
    """Counts the energy of one part of a machine.

    Attributes:
        name: Source and part, e.g. "hwmon i915 card0".
        resolution_s: How often the hardware moves the counter, in seconds.
    """

    name: str
    resolution_s: float

    def read_j(self) -> float:
        """Joules since some fixed moment; never falls.

        Raises:
            CounterError: it cannot be read.
        """
        ...

    def close(self) -> None:
        """Releases the resources that reading needs."""
        ...


class SourceCounters(NamedTuple):
    """The counters of one source.

    Attributes:
        counters: Counters of parts that do not overlap; empty where the source cannot be read.
        why: Why there are none; empty where there are some.
    """

    counters: Sequence[Counter]
    why: str = ""


class Unwrapped:
    """Unwraps a raw counter that starts again at 0 once it has reached `range_j`.

    It must be read at least once per wrap. Without a range, a fall means that the counter was reset, which
    loses energy and is an error.

    Args:
        range_j: Joules at which the counter wraps; None if it does not.
    """

    def __init__(self, range_j: float | None = None) -> None:
        self._range_j = range_j
        self._last_j: float | None = None
        self._total_j = 0.0

    def add(self, raw_j: float) -> float:
        """Joules since the first value.

        Args:
            raw_j: The raw counter in joules.

        Raises:
            CounterError: the raw counter fell and has no range.
        """
        if self._last_j is not None:
            grown_j = raw_j - self._last_j
            if grown_j < 0:
                if self._range_j is None:
                    raise CounterError(f"the counter fell from {self._last_j:.3f} J to {raw_j:.3f} J: it was reset")
                grown_j += self._range_j
            self._total_j += grown_j
        self._last_j = raw_j
        return self._total_j


class FileCounter:
    """A file of sysfs that holds microjoules.

    Args:
        name: Source and part.
        path: The file.
        resolution_s: How often the hardware moves it, in seconds.
        range_j: Joules at which it wraps to 0; None where the driver prevents that.
    """

    def __init__(self, name: str, path: Path, *, resolution_s: float, range_j: float | None = None) -> None:
        self.name, self.resolution_s = name, resolution_s
        self._path = path
        self._unwrapped = Unwrapped(range_j)

    def read_j(self) -> float:
        """Joules since the first reading.

        Raises:
            CounterError: the file cannot be read, or the counter was reset.
        """
        return self._unwrapped.add(read_microjoules(self._path) * MICRO)

    def close(self) -> None:
        """Nothing to release."""


def read_microjoules(path: Path) -> int:
    """The number in a sysfs file.

    Raises:
        CounterError: the file is missing, is not readable by this user, or holds no number.
    """
    try:
        return int(path.read_text(encoding="ascii"))
    except PermissionError as error:
        raise CounterError(f"{path} may not be read by this user (chmod or chgrp it as root)") from error
    except (OSError, ValueError) as error:
        raise CounterError(f"{path} cannot be read: {error}") from error
