"""The cost of durability: the same run with the journal, and with one that only counts.

The run is one worker whose simulated device is paced far below the dispatcher's own limit, so the overhead is
what a user sees and not the journal's limit. A third arm has no pace and gives the journal's cost per answer
when nothing else is the limit.
"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import pyarrow as pa

from xpoll.benchmarks.runner.records import Parameters, Record, alternating
from xpoll.benchmarks.runner.subprocess_call import call_in_subprocess
from xpoll.benchmarks.workloads.simulated_run import run_simulated
from xpoll.engine.journal.journal import Journal


class TimedJournal(Journal):
    """The journal, with the time that its callers waited for it.

    Attributes:
        append_s: Seconds in `append`, summed.
        appends: Number of appends with any answers.
    """

    append_s = 0.0
    appends = 0

    def append(self, batches: Sequence[pa.RecordBatch]) -> None:
        """As `Journal.append`, timed."""
        begun_s = time.perf_counter()
        super().append(batches)
        self.append_s += time.perf_counter() - begun_s
        self.appends += bool(batches)


class CountingJournal(TimedJournal):
    """Counts appends and drops the answers: a run without durability."""

    def append(self, batches: Sequence[pa.RecordBatch]) -> None:
        """Counts the append."""
        self.appends += bool(batches)


JOURNALS = {"journal": TimedJournal, "no journal": CountingJournal, "saturated": TimedJournal}


def measure(parameters: Parameters) -> Iterator[Record]:
    """The arms in turn, then the loss of throughput of each pair."""
    rates: dict[str, list[float]] = {arm: [] for arm in parameters["arms"]}

    def measure_arm(arm: str, _repeat: int) -> Record:
        scale = 0.0 if arm == "saturated" else parameters["time_scale"]
        record = call_in_subprocess(measure_once, arm, parameters["documents"], parameters["max_in_flight"], scale)
        rates[arm].append(record["answers_per_s"])
        return record

    yield from alternating(parameters, measure_arm)
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
    """Figures of one run in a temporary folder.

    Args:
        arm: Key of JOURNALS.
        documents: Number of documents, with one prompt each.
        max_in_flight: Most prompts in the engine.
        time_scale: Real seconds per simulated second.
    """
    made: list[TimedJournal] = []

    def make(folder: Path, *, rows_per_part: int) -> Journal:
        made.append(JOURNALS[arm](folder, rows_per_part=rows_per_part))
        return made[-1]

    simulated = {"time_scale": time_scale, "max_num_seqs": max_in_flight}
    with tempfile.TemporaryDirectory() as folder:
        run = run_simulated(
            Path(folder), documents, max_in_flight=max_in_flight, simulated=simulated, make_journal=make
        )
    (journal,) = made
    answers, wall_s = run.answers, run.session["wall_s"]
    return {
        "answers": answers,
        "wall_s": wall_s,
        "answers_per_s": run.answers_per_s,
        "append_s": round(journal.append_s, 3),
        "append_share": round(journal.append_s / wall_s, 4),
        "appends": journal.appends,
        "append_us_per_answer": round(1e6 * journal.append_s / answers, 2),
    }
