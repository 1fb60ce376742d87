"""How many answers a second the dispatcher, one worker and the journal carry when the engine takes no time.

Each run is a process of its own, so that its peak memory is its own.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from xpoll.benchmarks.runner.fresh import in_fresh_process, peak_memory_mib
from xpoll.benchmarks.runner.records import Parameters, Record
from xpoll.benchmarks.workloads.prompts import label_prompts
from xpoll.core.config import EngineConfig
from xpoll.core.files import read_json
from xpoll.core.progress import say
from xpoll.core.run_folder import RunFolder
from xpoll.engine.run import Workload, answer_prompts


def measure(parameters: Parameters) -> Iterator[Record]:
    """The rate several times, then the peak memory of a small and of a large run."""
    max_in_flight = parameters["max_in_flight"]
    for repeat in range(parameters["repeats"]):
        say(f"rate: repeat {repeat + 1} of {parameters['repeats']}")
        yield {
            "arm": "rate",
            "repeat": repeat,
            **in_fresh_process(measure_once, parameters["documents"], max_in_flight),
        }
    peaks_mib = []
    for documents in (parameters["memory_documents_small"], parameters["memory_documents_large"]):
        say(f"memory: {documents} documents")
        record = in_fresh_process(measure_once, documents, max_in_flight)
        peaks_mib.append(record["driver_peak_memory_mib"])
        # Under a name of its own: a run of ten million is no repeat of the rate's runs.
        record["memory_run_answers_per_s"] = record.pop("answers_per_s")
        yield {"arm": "memory", "repeat": 0, **record}
    yield {"arm": "memory: large over small", "repeat": 0, "memory_growth": round(peaks_mib[1] / peaks_mib[0] - 1, 4)}


def measure_once(documents: int, max_in_flight: int) -> Record:
    """One run into a temporary folder. Rates are over the time behind the engine's start."""
    simulated = {"time_scale": 0}
    config = EngineConfig(backend="simulated", device="cpu", max_in_flight=max_in_flight, simulated=simulated)  # type: ignore[call-arg]
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(Path(folder))
        answers = answer_prompts(Workload(label_prompts(documents), documents, 1), config=config, folder=run)
        wall_s = read_json(run.engine)["sessions"][-1]["wall_s"]
    return {
        "documents": documents,
        "answers": answers,
        "wall_s": wall_s,
        "answers_per_s": round(answers / wall_s, 1),
        "driver_peak_memory_mib": peak_memory_mib(),
        "cores": len(os.sched_getaffinity(0)),
    }
