"""Times calls on a device: warm-up, device events on accelerators, cold and warm caches, percentiles."""

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

WARM_UP_CALLS = 3
SHORTEST_SAMPLE_S = 2e-3  # shorter calls are timed several at a time, so that the clock's error is small
MOST_CALLS = 1000
SPIN_S = 0.3  # idle threads of OpenMP and OpenBLAS spin for up to 0.2 s and disturb those of another library
WINDOWS = 10
CACHE_MIB = 512  # written between cold calls: larger than the last-level cache of all devices (Max 1550: 408 MiB)

Call = Callable[[], Any]


class Times(NamedTuple):
    """Seconds per call.

    Attributes:
        median_s: Median over the samples.
        p5_s: 5th percentile.
        p95_s: 95th percentile.
        samples: Number of samples.
        least_s: The shortest sample.
    """

    median_s: float
    p5_s: float
    p95_s: float
    samples: int
    least_s: float

    def microseconds(self, name: str) -> dict[str, float]:
        """Figures of a record in us, e.g. `cold_median_us` for the name "cold"."""
        figures = {"median": self.median_s, "p5": self.p5_s, "p95": self.p95_s}
        found = {f"{name}_{key}_us": round(value * 1e6, 3) for key, value in figures.items()}
        return found | {f"{name}_samples": self.samples}


class Timer:
    """Times calls on one device.

    Args:
        device: "cpu", or a name that torch.accelerator knows.
        samples: Number of samples of a median.
        most_s: Time limit for the warm-up and for the samples of a call, in seconds; at least three are taken.
    """

    def __init__(self, device: str, *, samples: int, most_s: float) -> None:
        self.device, self._samples, self._most_s = device, samples, most_s
        self._evicting: torch.Tensor | None = None

    def warm(self, call: Call) -> Times:
        """Times of a call whose inputs the call before left in the caches."""
        return summary(self._warm(call, self._warm_up(call), least=3, most=self._samples))

    def in_turn(self, calls: Sequence[Call]) -> list[Times]:
        """Warm times of several calls, measured in turn over several windows.

        The speed of a shared machine varies by half from second to second; over several windows, each call runs
        at full speed at least once. A call that fills a window by itself gets fewer windows.
        """
        once_s = [self._warm_up(call) for call in calls]
        samples: list[list[float]] = [[] for _ in calls]
        for _ in range(WINDOWS):
            for call, usual_s, found in zip(calls, once_s, samples, strict=True):
                if len(found) >= 3 and len(found) * usual_s > WINDOWS * self._most_s:
                    continue
                if self.device == "cpu":
                    time.sleep(SPIN_S)
                found.extend(self._warm(call, usual_s, least=1, most=MOST_CALLS))
        return [summary(found) for found in samples]

    def cold(self, call: Call) -> Times:
        """Times of a call with evicted caches."""
        self._warm_up(call)
        return summary(self._sampled(lambda: self._time_cold(call), least=3, most=self._samples))

    def _warm(self, call: Call, once_s: float, *, least: int, most: int) -> list[float]:
        calls = min(MOST_CALLS, max(1, round(SHORTEST_SAMPLE_S / max(once_s, 1e-9))))
        return self._sampled(lambda: self._time(call, calls), least=least, most=most)

    def _warm_up(self, call: Call) -> float:
        begun_s = time.perf_counter()
        for _ in range(WARM_UP_CALLS):
            call()
            if time.perf_counter() - begun_s > self._most_s:
                break
        return self._time(call, 1)

    def _sampled(self, sample: Callable[[], float], *, least: int, most: int) -> list[float]:
        found: list[float] = []
        begun_s = time.perf_counter()
        while len(found) < least or (len(found) < most and time.perf_counter() - begun_s < self._most_s):
            found.append(sample())
        return found

    def _time_cold(self, call: Call) -> float:
        if self._evicting is None:
            size = CACHE_MIB if self.device != "cpu" else min(CACHE_MIB, 2 * last_cache_mib())
            self._evicting = torch.empty(size * 2**20, dtype=torch.uint8, device=self.device)
        self._evicting.add_(1)
        return self._time(call, 1)

    def _time(self, call: Call, calls: int) -> float:
        if self.device == "cpu":
            begun_s = time.perf_counter()
            for _ in range(calls):
                call()
            return (time.perf_counter() - begun_s) / calls
        begun, ended = (torch.Event(self.device, enable_timing=True) for _ in range(2))
        torch.accelerator.synchronize()
        begun.record()
        for _ in range(calls):
            call()
        ended.record()
        torch.accelerator.synchronize()
        return float(begun.elapsed_time(ended)) / 1000 / calls


def summary(samples: Sequence[float]) -> Times:
    """Statistics of samples in seconds; percentiles by linear interpolation."""
    ordered = sorted(samples)
    cuts = statistics.quantiles(ordered, n=20, method="inclusive") if len(ordered) > 1 else [ordered[0]] * 19
    return Times(statistics.median(ordered), cuts[0], cuts[-1], len(ordered), ordered[0])


def last_cache_mib() -> int:
    """Size of the processor's largest cache in MiB; at least 32, also where the kernel does not report it."""
    sizes = []
    for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = path.read_text(encoding="ascii").strip()
        if text.endswith("K") and text[:-1].isdigit():
            sizes.append(int(text[:-1]) // 1024)
    return max([32, *sizes])
