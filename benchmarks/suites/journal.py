"""What it costs that every answer is on disk before it counts: the same load with the journal and with none.

The load is one worker whose simulated device answers about as fast as the suite says, which is far
below what the dispatcher carries; so the overhead is what a user sees, not what the journal could do.
A third arm answers at once and gives the cost of an answer when nothing else is the limit.
"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import pyarrow as pa

from xpoll.benchmarks.runner.fresh import in_fresh_process
from xpoll.benchmarks.runner.records import Parameters, Record, alternating
from xpoll.benchmarks.workloads.prompts import label_prompts
from xpoll.core.config import EngineConfig
from xpoll.core.files import read_json
from xpoll.core.run_folder import RunFolder
from xpoll.engine.journal.journal import Journal
from xpoll.engine.run import Workload, answer_prompts


class TimedJournal(Journal):
    """The journal, and how long its callers waited for it."""

    append_s = 0.0
    appends = 0

    def append(self, batches: Sequence[pa.RecordBatch]) -> None:
        begun_s = time.perf_counter()
        super().append(batches)
        self.append_s += time.perf_counter() - begun_s
        self.appends += bool(batches)


class CountingJournal(TimedJournal):
    """Counts the answers and forgets them: what a run would be without a journal."""

    def append(self, batches: Sequence[pa.RecordBatch]) -> None:
        self.appends += bool(batches)


JOURNALS = {"journal": TimedJournal, "no journal": CountingJournal, "saturated": TimedJournal}


def measure(parameters: Parameters) -> Iterator[Record]:
    """The arms in turn, then each pair's loss of throughput."""
    rates: dict[str, list[float]] = {arm: [] for arm in parameters["arms"]}

    def measure(arm: str, repeat: int) -> Record:
        scale = 0.0 if arm == "saturated" else parameters["time_scale"]
        record = in_fresh_process(measure_once, arm, parameters["documents"], parameters["max_in_flight"], scale)
        rates[arm].append(record["answers_per_s"])
        return record

    yield from alternating(parameters, measure)
    for repeat, (with_journal, without) in enumerate(zip(rates["journal"], rates["no journal"], strict=True)):
        yield {
            "arm": "journal against no journal",
            "repeat": repeat,
            "journal_overhead": round(1 - with_journal / without, 4),
            "paced_answers_per_s": with_journal,
        }
    yield {
        "arm": "journal against no journal",
        "median_overhead": round(1 - median(rates["journal"]) / median(rates["no journal"]), 4),
    }


def measure_once(arm: str, documents: int, max_in_flight: int, time_scale: float) -> Record:
    """One run into a temporary folder."""
    made: list[TimedJournal] = []

    def make(folder: Path, *, rows_per_part: int) -> Journal:
        made.append(JOURNALS[arm](folder, rows_per_part=rows_per_part))
        return made[-1]

    simulated = {"time_scale": time_scale, "max_num_seqs": max_in_flight}
    config = EngineConfig(backend="simulated", device="cpu", max_in_flight=max_in_flight, simulated=simulated)  # type: ignore[call-arg]
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(Path(folder))
        job = Workload(label_prompts(documents), documents, 1)
        answers = answer_prompts(job, config=config, folder=run, make_journal=make)
        wall_s = read_json(run.engine)["sessions"][-1]["wall_s"]
    (journal,) = made
    return {
        "answers": answers,
        "wall_s": wall_s,
        "answers_per_s": round(answers / wall_s, 1),
        "append_s": round(journal.append_s, 3),
        "append_share": round(journal.append_s / wall_s, 4),
        "appends": journal.appends,
        "append_us_per_answer": round(1e6 * journal.append_s / answers, 2),
    }
