"""A run at full rate for as long as it is told to: whether memory, open files and threads stay what they are."""

import itertools
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from xpoll.benchmarks.runner.records import Parameters, Record
from xpoll.benchmarks.runner.subprocess_call import call_in_subprocess
from xpoll.benchmarks.workloads.simulated_run import label_prompts, run_simulated
from xpoll.benchmarks.workloads.usage import Sampler, Usage, trend
from xpoll.core.progress import say
from xpoll.core.records import Prompt

FIGURES = ("memory_mib", "open_files", "threads")
FEWEST_SAMPLES = 12
SHOWN = 60
"""Samples of a series that the page draws at most."""


def measure(parameters: Parameters) -> Iterator[Record]:
    """The run; then the trend of each figure of each process, and the samples."""
    say(f"{parameters['minutes']:g} minutes at full rate")
    run = call_in_subprocess(
        soak, parameters["minutes"], parameters["sample_every_s"], parameters["max_in_flight"], parameters["devices"]
    )
    samples = [Usage(*each) for each in run.pop("samples")]
    yield {"arm": "run", "repeat": 0, **run}
    yield from trends(samples, warm_up_minutes=parameters["warm_up_minutes"])
    for process in dict.fromkeys(each.process for each in samples):
        series = [each for each in samples if each.process == process]
        for each in series[:: 1 + (len(series) - 1) // SHOWN]:
            yield {"arm": "sample", **each._asdict()}


def soak(minutes: float, sample_every_s: float, max_in_flight: int, devices: int) -> Record:
    """One run in a temporary folder, sampled from the first ready device on; prompts end when the time is over.

    Args:
        minutes: Its length.
        sample_every_s: Seconds between two samples.
        max_in_flight: Most prompts in an engine.
        devices: Number of workers.
    """
    sampler = Sampler(sample_every_s)

    def prompts() -> Iterator[Prompt]:
        until_s = time.monotonic() + 60 * minutes  # read for the first time when a worker has room
        sampler.start()
        yield from itertools.takewhile(lambda _: time.monotonic() < until_s, label_prompts(sys.maxsize))
        sampler.end()  # what comes behind is the end of the workers and of Ray

    with tempfile.TemporaryDirectory() as folder:
        run = run_simulated(
            Path(folder),
            sys.maxsize,
            max_in_flight=max_in_flight,
            simulated={"time_scale": 0},
            devices=devices,
            prompts=prompts(),
        )
        size = sum(path.stat().st_size for path in run.folder.completions.iterdir())
    return {
        "answers": run.answers,
        "wall_s": run.session["wall_s"],
        "answers_per_s": run.answers_per_s,
        "written_mib": round(size / 2**20, 1),
        "samples": sampler.samples,
    }


def trends(samples: list[Usage], *, warm_up_minutes: float) -> Iterator[Record]:
    """The trend of each figure of each process behind the warm-up, and what it adds up to over the time measured."""
    for process in dict.fromkeys(each.process for each in samples):
        series = [each for each in samples if each.process == process and each.minutes >= warm_up_minutes]
        if len(series) < FEWEST_SAMPLES:
            continue
        minutes = [each.minutes for each in series]
        for figure in FIGURES:
            found = trend(minutes, [float(getattr(each, figure)) for each in series])
            growth = found.per_hour * (minutes[-1] - minutes[0]) / 60
            yield {
                "arm": "trend",
                "process": process,
                "of": figure,
                "samples": len(series),
                "mean": round(found.mean, 2),
                "per_hour": round(found.per_hour, 3),
                "per_hour_low": round(found.per_hour_low, 3),
                "per_hour_high": round(found.per_hour_high, 3),
                f"{figure}_growth_share": round(growth / found.mean, 4),
            }
