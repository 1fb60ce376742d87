"""Answers per second of the dispatcher, one worker and the journal with an engine that takes no time.

Each run is a subprocess, so that its peak memory is its own.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from xpoll.benchmarks.runner.records import Parameters, Record
from xpoll.benchmarks.runner.subprocess_call import call_in_subprocess, peak_memory_mib
from xpoll.benchmarks.workloads.simulated_run import run_simulated
from xpoll.core.progress import say


def measure(parameters: Parameters) -> Iterator[Record]:
    """The rate, `repeats` times, then the peak memory of a small and of a large run."""
    max_in_flight = parameters["max_in_flight"]
    for repeat in range(parameters["repeats"]):
        say(f"rate: repeat {repeat + 1} of {parameters['repeats']}")
        yield {
            "arm": "rate",
            "repeat": repeat,
            **call_in_subprocess(measure_once, parameters["documents"], max_in_flight),
        }
    peaks_mib = []
    for documents in (parameters["memory_documents_small"], parameters["memory_documents_large"]):
        say(f"memory: {documents} documents")
        record = call_in_subprocess(measure_once, documents, max_in_flight)
        peaks_mib.append(record["driver_peak_memory_mib"])
        # Renamed: a run of ten million documents is no repeat of the runs that measure the rate.
        record["memory_run_answers_per_s"] = record.pop("answers_per_s")
        yield {"arm": "memory", "repeat": 0, **record}
    yield {"arm": "memory: large over small", "repeat": 0, "memory_growth": round(peaks_mib[1] / peaks_mib[0] - 1, 4)}


def measure_once(documents: int, max_in_flight: int) -> Record:
    """Figures of one run in a temporary folder; rates exclude the start of the engine.

    Args:
        documents: Number of documents, with one prompt each.
        max_in_flight: Most prompts in the engine.
    """
    with tempfile.TemporaryDirectory() as folder:
        run = run_simulated(Path(folder), documents, max_in_flight=max_in_flight, simulated={"time_scale": 0})
    return {
        "documents": documents,
        "answers": run.answers,
        "wall_s": run.session["wall_s"],
        "answers_per_s": run.answers_per_s,
        "driver_peak_memory_mib": peak_memory_mib(),
        "cores": len(os.sched_getaffinity(0)),
    }
