"""Energy of a block of code: `with Window(counters) as window: ...`, then `window.energy`.

The device is synchronised at the start and the end of the window, so that queued work is counted where it
belongs. Counters are also read in between, because a counter that wraps must be read at least once per wrap.
"""

import statistics
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, Literal, NamedTuple

from xpoll.energy.counters import CounterError
from xpoll.energy.sources import Counters

READ_EVERY_S = 1.0
LEAST_READINGS = 10  # updates of a counter that a window must span
STANDS_STILL_S = 2.0
IDLE_S = 3.0
IDLE_PARTS = 5

MAX_SPREAD = 0.05
MIN_REPEATS = 3


@dataclass(frozen=True, slots=True)
class Energy:
    """Energy of a window.

    Attributes:
        source: The sources in words; "none" where nothing was measured.
        wall_s: Length of the window in seconds.
        energy_j: Sum over the counters in joules; None where it was not measured.
        by_counter: Joules by counter.
        why: What could not be read, and the reason.
    """

    source: str
    wall_s: float
    energy_j: float | None
    by_counter: Mapping[str, float]
    why: str

    def as_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


class Idle(NamedTuple):
    """Power of idle devices.

    Attributes:
        idle_w: Median of several short windows, in watts; None where it was not measured.
        spread: (max - min) / median of these windows.
    """

    idle_w: float | None
    spread: float | None


class RepeatedEnergy(NamedTuple):
    """Agreement of the repeats of one measurement.

    Attributes:
        median_j: Median in joules; None where a repeat was not measured.
        spread: (max - min) / median.
        status: Only a "valid" measurement may be reported as a result.
    """

    median_j: float | None
    spread: float | None
    status: Literal["valid", "too few repeats", "spread too wide", "not measured"]


def synchronise_device() -> None:
    """Waits for the work queued on this process's accelerator, if torch is loaded and has one."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.accelerator.is_available():
        torch.accelerator.synchronize()


class Window:
    """A context manager that measures the energy of its block.

    Args:
        found: The counters.
        synchronise: Waits for work queued on the device.
        every_s: How often counters are read within the block, in seconds.
    """

    def __init__(
        self,
        found: Counters,
        *,
        synchronise: Callable[[], None] = synchronise_device,
        every_s: float = READ_EVERY_S,
    ) -> None:
        self._found, self._synchronise, self._every_s = found, synchronise, every_s
        self._first: dict[str, float] = {}
        self._last: dict[str, float] = {}
        self._failed = ""
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._ended_s: float | None = None

    def __enter__(self) -> "Window":
        self._synchronise()
        self._first = self._read()
        self._begun_s = time.monotonic()
        self._thread = threading.Thread(target=self._keep_reading, daemon=True)
        if self._found.counters:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if kind is None:
            self._synchronise()
        self._ended_s = time.monotonic()
        self._read()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def energy(self) -> Energy:
        """The energy of the block; within the block, up to the last reading."""
        with self._lock:
            wall_s = (self._ended_s or time.monotonic()) - self._begun_s
            grown = {name: round(self._last[name] - first, 6) for name, first in self._first.items()}
        why = self._why_not(wall_s, grown)
        energy_j = None if why else round(sum(grown.values()), 6)
        source = self._found.source if energy_j is not None else "none"
        return Energy(source, round(wall_s, 6), energy_j, {} if why else grown, why or self._found.why)

    def _why_not(self, wall_s: float, grown: Mapping[str, float]) -> str:
        if not self._found.counters:
            return self._found.why
        if self._failed:
            return self._failed
        if still := [name for name, joules in grown.items() if not joules and wall_s >= STANDS_STILL_S]:
            return f"{', '.join(still)} did not move for {wall_s:.1f} s"
        shortest_s = LEAST_READINGS * max(counter.resolution_s for counter in self._found.counters)
        return f"{wall_s:.3f} s is too short for a counter that needs {shortest_s:g} s" if wall_s < shortest_s else ""

    def _read(self) -> dict[str, float]:
        with self._lock:
            try:
                self._last = {counter.name: counter.read_j() for counter in self._found.counters}
            except CounterError as error:
                self._failed = self._failed or str(error)
            return self._last

    def _keep_reading(self) -> None:
        while not self._over.wait(self._every_s):
            self._read()


def idle_power(found: Counters, *, seconds: float = IDLE_S, parts: int = IDLE_PARTS) -> Idle:
    """Idle power, measured for `seconds` in which the caller does nothing; Nones where nothing can be read.

    Args:
        found: The counters.
        seconds: Total time; longer where a counter's resolution needs it.
        parts: Number of windows that it is divided into.
    """
    if not found.counters:
        return Idle(None, None)
    part_s = max(seconds / parts, LEAST_READINGS * max(counter.resolution_s for counter in found.counters))
    powers = []
    for _ in range(parts):
        with Window(found) as window:
            time.sleep(part_s)
        if window.energy.energy_j is None:
            return Idle(None, None)
        powers.append(window.energy.energy_j / window.energy.wall_s)
    median_w = statistics.median(powers)
    spread = (max(powers) - min(powers)) / median_w if median_w else None
    return Idle(round(median_w, 3), None if spread is None else round(spread, 4))


def repeated_energy(
    repeats: list[float | None], *, max_spread: float = MAX_SPREAD, min_repeats: int = MIN_REPEATS
) -> RepeatedEnergy:
    """Whether the repeats of one measurement agree: (max - min) / median is at most `max_spread`.

    Args:
        repeats: Joules of each repeat; None for one that was not measured.
        max_spread: Largest spread of a valid measurement.
        min_repeats: Smallest number of repeats of a valid measurement.
    """
    measured = [joules for joules in repeats if joules is not None]
    if len(measured) < len(repeats) or not measured:
        return RepeatedEnergy(None, None, "not measured")
    median_j = statistics.median(measured)
    spread = round((max(measured) - min(measured)) / median_j, 4) if median_j else None
    if len(measured) < min_repeats:
        return RepeatedEnergy(median_j, spread, "too few repeats")
    agrees = spread is not None and spread <= max_spread
    return RepeatedEnergy(median_j, spread, "valid" if agrees else "spread too wide")
