"""Service times of the real dispatcher, from runs of it on simulated devices; and such runs to hold a model against.

Processor time is that of the thread that dispatches, which a busy machine hardly stretches; an append waits for the
disk besides, for which the median of its waits stands. Time of Ray's own threads and of the thread that seals parts is
not in it, but in `driver_cpu_us_per_answer`.
"""

import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from xpoll.benchmarks.runner.records import Record
from xpoll.benchmarks.workloads.closed_network import ServiceTimes
from xpoll.benchmarks.workloads.fleet_hosts import Call, HostedWorker, Hosts
from xpoll.benchmarks.workloads.simulated_run import label_prompts, run_simulated
from xpoll.core.config.job import EngineConfig
from xpoll.core.progress import say
from xpoll.core.records import Prompt
from xpoll.engine.cluster import messages_to, running_ray
from xpoll.engine.devices.find import Device
from xpoll.engine.journal.journal import Journal
from xpoll.engine.journal.ledger import Ledger
from xpoll.engine.lifetime import RunEngines
from xpoll.engine.work import NeverStop, by_document

EDGE = 0.15
"""Share of the answers at either end of a run that is left out: start and tail."""


class Moment(NamedTuple):
    """The state of a run after an append; all but `answers` and `exchanges` are seconds.

    Attributes:
        answers: Durable so far.
        exchanges: Begun so far.
        clock_s: Now.
        thread_s: Processor time of the dispatcher's thread.
        process_s: Processor time of its process.
        append_s: Spent in appends so far.
        append_thread_s: Processor time of the thread in them.
    """

    answers: int
    exchanges: int
    clock_s: float
    thread_s: float
    process_s: float
    append_s: float
    append_thread_s: float

    def since(self, other: "Moment") -> "Moment":
        """What has been added since another moment."""
        answers, exchanges, *seconds = (now - then for now, then in zip(self, other, strict=True))
        return Moment(int(answers), int(exchanges), *seconds)


class CountedCall:
    """A remote method whose calls are counted.

    Args:
        call: The method.
        counts: Its only place is raised with each call.
    """

    def __init__(self, call: Call, counts: list[int]) -> None:
        self._call, self._counts = call, counts

    def remote(self, *arguments: Any) -> Any:
        """As `Call.remote`."""
        self._counts[0] += 1
        return self._call.remote(*arguments)


class WatchedRun:
    """Counts exchanges and appends of one run.

    Attributes:
        moments: One after each append with answers.

    Args:
        devices_per_process: How many devices share a Ray actor.
        slowed_us_per_answer: By how much each answer lengthens its append: a dispatcher of a known, lower limit.
    """

    def __init__(self, devices_per_process: int, slowed_us_per_answer: float) -> None:
        self._hosts, self._exchanges = Hosts(devices_per_process), [0]
        self._slowed_s = slowed_us_per_answer / 1e6
        self._append_s = self._append_thread_s = 0.0
        self.moments: list[Moment] = []

    def engines(self, devices: list[Device]) -> RunEngines:
        """Engines whose exchanges are counted, in the Ray that runs."""
        return _EnginesInRay(self._create, self._hosts.kill, devices)

    def _create(self, *arguments: Any, **named: Any) -> HostedWorker:
        worker = self._hosts.create(*arguments, **named)
        worker.exchange = CountedCall(worker.exchange, self._exchanges)  # type: ignore[assignment]
        return worker

    def journal(self, folder: Path, *, rows_per_part: int) -> Journal:
        """A journal whose appends are timed."""
        return _WatchedJournal(folder, rows_per_part=rows_per_part, run=self)

    def appended(self, begun_s: float, begun_thread_s: float, answers: int) -> None:
        """Notes an append that has just ended, and lengthens it."""
        time.sleep(self._slowed_s * answers)
        clock_s, thread_s = time.perf_counter(), time.thread_time()
        self._append_s += clock_s - begun_s
        self._append_thread_s += thread_s - begun_thread_s
        before = self.moments[-1].answers if self.moments else 0
        times = (clock_s, thread_s, time.process_time(), self._append_s, self._append_thread_s)
        self.moments.append(Moment(before + answers, self._exchanges[0], *times))


class _EnginesInRay(RunEngines):
    """Engines of a run in a Ray that outlives it: starting one takes longer than the run."""

    def __init__(self, create: Callable[..., Any], kill: Callable[[Any], None], devices: list[Device]) -> None:
        super().__init__(create, kill)
        self._devices = devices

    @contextmanager
    def session(self, config: EngineConfig, *, log: Path) -> Iterator[list[Device]]:
        with messages_to(log):
            yield self._devices[: int(config.replicas)]


class _WatchedJournal(Journal):
    def __init__(self, folder: Path, *, rows_per_part: int, run: WatchedRun) -> None:
        super().__init__(folder, rows_per_part=rows_per_part)
        self._run = run

    def append(self, batches: Sequence[pa.RecordBatch]) -> None:
        begun_s, begun_thread_s = time.perf_counter(), time.thread_time()
        super().append(batches)
        if batches:
            self._run.appended(begun_s, begun_thread_s, sum(batch.num_rows for batch in batches))


def watched_runs(requests: list[dict[str, Any]]) -> Record:
    """One after the other in one Ray: `runs`, the record of each.

    Args:
        requests: Arguments of `watched_run` but its devices.
    """
    most = max(request["devices"] for request in requests)
    config = EngineConfig(backend="simulated", device="cpu", replicas=most)
    with running_ray(config) as found:
        runs = []
        for request in requests:
            devices = request.pop("devices")
            say(f"{request['answers']} answers, {devices} x {request['simulated']}")
            runs.append(watched_run(devices=found[:devices], **request))
    return {"runs": runs}


def watched_run(
    *,
    answers: int,
    answers_per_document: int,
    devices: list[Device],
    devices_per_process: int,
    max_in_flight: int,
    simulated: dict[str, Any],
    slowed_us_per_answer: float = 0.0,
) -> Record:
    """Figures of one run in a temporary folder, of its middle: per answer where the name says so.

    Args:
        answers: Prompts of the run.
        answers_per_document: How many of them each document has.
        devices: The devices, in a Ray that runs.
        devices_per_process: How many of them share a Ray actor.
        max_in_flight: `engine.max_in_flight`.
        simulated: [engine.simulated].
        slowed_us_per_answer: By how much each answer lengthens its append.
    """
    watched = WatchedRun(devices_per_process, slowed_us_per_answer)
    documents = -(-answers // answers_per_document)
    with TemporaryDirectory() as folder:
        run = run_simulated(
            Path(folder),
            documents,
            max_in_flight=max_in_flight,
            simulated=simulated,
            devices=len(devices),
            prompts=sampled_prompts(documents, answers_per_document),
            engines=watched.engines(devices),
            make_journal=watched.journal,
        )
        resumed = _resumption(run.folder.completions, answers_per_document)
    wall_s = run.session["wall_s"]
    return {"answers": run.answers, "devices": len(devices), "wall_s": wall_s, **resumed, **_middle(watched)}


def _middle(watched: WatchedRun) -> Record:
    moments = watched.moments
    last = moments[-1].answers
    inner = [moment for moment in moments if EDGE * last <= moment.answers <= (1 - EDGE) * last]
    delta = inner[-1].since(inner[0])
    number, appends = delta.answers, len(inner) - 1
    outside_s = delta.thread_s - delta.append_thread_s
    waits_s = np.diff([moment.append_s - moment.append_thread_s for moment in inner])
    append_s = delta.append_thread_s + appends * float(np.median(waits_s))
    return {
        "answers_per_s": round(number / delta.clock_s, 1),
        "answers_per_exchange": round(number / delta.exchanges, 2),
        "answers_per_append": round(number / appends, 2),
        "dispatch_cpu_us_per_answer": round(1e6 * outside_s / number, 3),
        "append_us_per_answer": round(1e6 * append_s / number, 3),
        "append_wait_ms": round(1e3 * float(np.median(waits_s)), 3),
        "driver_cpu_us_per_answer": round(1e6 * delta.process_s / number, 3),
        "dispatcher_load": round((outside_s + delta.append_s) / delta.clock_s, 4),
    }


def _resumption(completions: Path, answers_per_document: int) -> Record:
    """What the answers take on disk, and what it takes to open them again, files in memory."""
    parts = list(completions.glob("part-*.parquet"))
    begun_s = time.perf_counter()
    with Journal(completions):
        ledger = Ledger(completions, asked_each=answers_per_document, stop=NeverStop())
    return {
        "stored_bytes_per_answer": round(sum(part.stat().st_size for part in parts) / ledger.answers, 2),
        "resume_us_per_answer": round(1e6 * (time.perf_counter() - begun_s) / ledger.answers, 3),
    }


def fitted_times(runs: Sequence[Record]) -> ServiceTimes:
    """Service times from runs that differ in the answers per exchange and per append: two straight lines.

    Args:
        runs: Of `watched_run`, at least two.
    """
    exchange_s, answer_s = _line(runs, "answers_per_exchange", "dispatch_cpu_us_per_answer")
    round_s, written_answer_s = _line(runs, "answers_per_append", "append_us_per_answer")
    return ServiceTimes(exchange_s, answer_s, round_s, written_answer_s)


def _line(runs: Sequence[Record], shared_by: str, us_per_answer: str) -> tuple[float, float]:
    """Seconds per thing that answers share, and per answer; neither is negative."""
    shares = np.array([1 / run[shared_by] for run in runs])
    seconds = np.array([run[us_per_answer] for run in runs]) / 1e6
    slope, constant = np.polyfit(shares, seconds, 1)
    return max(0.0, float(slope)), max(0.0, float(constant))


def sampled_prompts(documents: int, samples: int) -> Iterator[Prompt]:
    """As `label_prompts`, with several samples per document."""
    for prompt in label_prompts(documents):
        for sample in range(samples):
            yield prompt._replace(sample=sample)


def bytes_in_flight(answers_per_document: int, prompts: int = 9999) -> float:
    """Memory per prompt that is in flight, in the dispatcher: Python's objects of the prompts of `label_prompts`."""
    tracemalloc.start()
    kept = list(islice(by_document(sampled_prompts(prompts, answers_per_document)), prompts // answers_per_document))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size / sum(len(work.prompts) for work in kept)
