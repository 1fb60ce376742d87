"""What a run holds of the machine, sampled while it runs: memory, open files and threads of driver, workers and Ray."""

import threading
import time
from contextlib import suppress
from typing import NamedTuple

import numpy as np
import psutil

from xpoll.benchmarks.workloads.faults.poll_process import is_worker

BLOCKS = 10
"""Parts of a series whose means the trend is fitted to: neighbouring samples are no independent ones."""
MIB = 2**20


class Usage(NamedTuple):
    """A sample of some processes together.

    Attributes:
        process: "driver", "workers" or "ray", which is all else that the driver started.
        minutes: Since sampling began.
        memory_mib: Resident memory.
        open_files: Descriptors.
        threads: Threads.
    """

    process: str
    minutes: float
    memory_mib: float
    open_files: int
    threads: int


class Trend(NamedTuple):
    """A straight line through a series: its mean, and how it rises in an hour, with a 95 % interval."""

    mean: float
    per_hour: float
    per_hour_low: float
    per_hour_high: float


class Sampler(threading.Thread):
    """Samples this process and those below it until it is told to end.

    Attributes:
        samples: So far.

    Args:
        every_s: Seconds between two samples.
    """

    def __init__(self, every_s: float) -> None:
        super().__init__(name="sampler", daemon=True)
        self.samples: list[Usage] = []
        self._every_s, self._ended = every_s, threading.Event()

    def run(self) -> None:
        """Samples."""
        begun_s = time.monotonic()
        while not self._ended.wait(self._every_s):
            self.samples += usage_now((time.monotonic() - begun_s) / 60)

    def end(self) -> None:
        """Ends the sampling."""
        self._ended.set()
        self.join()


def usage_now(minutes: float) -> list[Usage]:
    """A sample of the driver, which is this process, its workers, and what else of Ray it started."""
    driver = psutil.Process()
    below = driver.children(recursive=True)
    workers = [process for process in below if is_worker(process)]
    others = [process for process in below if process not in workers]
    groups = {"driver": [driver], "workers": workers, "ray": others}
    return [_sum_of(name, processes, minutes) for name, processes in groups.items()]


def _sum_of(name: str, processes: list[psutil.Process], minutes: float) -> Usage:
    memory = files = threads = 0
    for process in processes:
        with suppress(psutil.Error), process.oneshot():  # one that has ended holds nothing
            held = process.memory_info().rss, process.num_fds(), process.num_threads()
            memory, files, threads = memory + held[0], files + held[1], threads + held[2]
    return Usage(name, round(minutes, 3), round(memory / MIB, 2), files, threads)


def trend(minutes: list[float], values: list[float]) -> Trend:
    """The trend of a series, fitted to the means of `BLOCKS` parts of it.

    Args:
        minutes: When each value was taken, ascending; at least three.
        values: The values.
    """
    from scipy.stats import linregress
    from scipy.stats import t as student_t

    blocks = min(BLOCKS, len(values))
    hours = np.array([part.mean() for part in np.array_split(np.array(minutes) / 60, blocks)])
    means = np.array([part.mean() for part in np.array_split(np.array(values, float), blocks)])
    fit = linregress(hours, means)
    margin = float(student_t.ppf(0.975, blocks - 2) * fit.stderr)
    slope = float(fit.slope)
    return Trend(float(means.mean()), slope, slope - margin, slope + margin)
