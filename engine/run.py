"""Prompts to completions, as one function: devices, workers, dispatch, journal.

Reads nothing but the prompts it is given. Writes completions/ and engine.json into the run folder.
Every prompt that is asked ends there exactly once, as a completion or as an error row; what earlier
runs have answered is not asked.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from xpoll.core.config import EngineConfig
from xpoll.core.gc_tuning import collecting_seldom
from xpoll.core.progress import Progress, Waiting
from xpoll.core.records import Prompt
from xpoll.core.run_folder import RunFolder
from xpoll.engine.backends.registry import LOADS_MODEL, check_backend
from xpoll.engine.cluster import begin_worker, end_worker, end_workers, ray_session
from xpoll.engine.devices.find import describe
from xpoll.engine.dispatch import Dispatch, Tally
from xpoll.engine.interrupt import draining
from xpoll.engine.journal.journal import Journal
from xpoll.engine.journal.ledger import Ledger
from xpoll.engine.journal.load import Meters
from xpoll.engine.journal.session import Session, mark_settled
from xpoll.engine.planning.fit import require_fit
from xpoll.engine.slots import Slots
from xpoll.engine.work import NeverStop, StopRule, by_document

USUAL_START_S = {"vllm": 40.0}  # measured: 25 to 60 s with a 135M model on two cores


@dataclass(frozen=True, slots=True)
class Workload:
    """What is to be answered.

    Attributes:
        prompts: All prompts of the run; those of a document stand together.
        documents: How many documents these are about.
        asked_each: How many prompts each document has; a function of the document's id where they differ.
        stop: When a document needs no more answers.
    """

    prompts: Iterable[Prompt]
    documents: int
    asked_each: int | Callable[[str], int]
    stop: StopRule = NeverStop()


def answer_prompts(
    job: Workload,
    *,
    config: EngineConfig,
    folder: RunFolder,
    make_journal: Callable[..., Journal] = Journal,
    begin: Callable[..., Any] = begin_worker,
    end: Callable[[Any], None] = end_worker,
) -> int:
    """Asks about every document that is not settled yet; returns how many answers that gave.

    Args:
        job: What is to be answered.
        config: The engine section.
        folder: Where answers go.
        make_journal: Called as Journal is; a benchmark gives one that measures.
        begin: Called as `begin_worker` is; a benchmark puts simulated devices into one process.
        end: Ends what `begin` has begun.

    Raises:
        EngineError: the engine does not start, or no device is left.
        RunFolderError: answers can no longer be written.
    """
    check_backend(config)
    with make_journal(folder.completions, rows_per_part=config.rows_per_part) as journal:
        ledger = Ledger(folder.completions, asked_each=job.asked_each, stop=job.stop)
        if ledger.settled >= job.documents:
            mark_settled(folder.engine, job.documents)  # a session that was killed right after its last answer has not
            return 0
        work = (left for each in by_document(job.prompts) if (left := ledger.left_of(each)) is not None)
        with ray_session(config, log=folder.log) as devices:
            if config.backend in LOADS_MODEL:
                require_fit(config, devices)
            session = Session(folder.engine, config, devices)
            seats = Slots(
                lambda number: begin(config, devices[number], name=f"worker-{number}", stop=job.stop, log=folder.log),
                end,
                number=len(devices),
                max_restarts=config.max_restarts,
            )
            try:
                with draining() as drain, collecting_seldom():
                    what = f"starting {config.backend} with {config.model} on {describe(devices)}"
                    meters = Meters(folder.load, [str(device) for device in devices])
                    tallies = Dispatch(work, seats, journal, job.stop, config, meters, drain).tallies()
                    with Waiting(f"{what}: imports, weights, warm-up", usual_s=USUAL_START_S.get(config.backend)):
                        first = next((tally for tally in tallies if seats.worked), Tally())
                    session.started(seats.ready_s)
                    _count(first, tallies, job, ledger, session)
                    meters.write()
                    if drain.is_set():
                        raise KeyboardInterrupt
                    session.ended(job.documents)
            except BaseException:
                session.stopped()  # whatever stopped it, what it did is known
                raise
            finally:
                end_workers([seat.worker for seat in seats.seats.values()], end)
            return session.answers


def _count(first: Tally, tallies: Iterator[Tally], job: Workload, ledger: Ledger, session: Session) -> None:
    saved = 0
    with Progress("polling", total=job.documents, unit="documents", done=ledger.settled) as progress:
        for tally in chain([first], tallies):
            saved += tally.saved
            session.counted(tally.answers)
            note = f"{session.answers} answers" + (f", {saved} not needed" if saved else "")
            progress.add(tally.documents, note)
