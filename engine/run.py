"""Prompts to completions, as one function: devices, workers, dispatch, journal.

Reads nothing but the prompts it gets. Writes completions/, engine.json and load.jsonl into the run folder.
Every prompt ends there exactly once, as a completion or as an error row; prompts that an earlier session
answered are not asked again.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import chain

from xpoll.core.config.job import EngineConfig
from xpoll.core.formatting import counted
from xpoll.core.machine.gc_tuning import collecting_seldom
from xpoll.core.progress import Progress, Waiting, say
from xpoll.core.records import Prompt
from xpoll.core.run_folder import RunFolder
from xpoll.core.secrets import hide_named
from xpoll.engine.backends.registry import check_backend, spec_of
from xpoll.engine.cluster import end_of_worker
from xpoll.engine.devices.find import Device, describe
from xpoll.engine.dispatch import Dispatcher, Limits, Tally
from xpoll.engine.interrupt import Drain, draining
from xpoll.engine.journal.journal import Journal
from xpoll.engine.journal.ledger import Ledger
from xpoll.engine.journal.load_metrics import LoadMetrics
from xpoll.engine.journal.session import Session, lost_answers, mark_settled
from xpoll.engine.lifetime import Engines, engines_for_run
from xpoll.engine.local_ray import check_ray
from xpoll.engine.planning.fit import require_fit
from xpoll.engine.slots import Slots
from xpoll.engine.work import NeverStop, StopRule, by_document


@dataclass(frozen=True, slots=True)
class Workload:
    """The prompts of a run.

    Attributes:
        prompts: All prompts; those of a document are adjacent.
        documents: Number of documents.
        asked_each: Number of prompts per document; a function of the document's id where it differs.
        stop: When a document needs no more answers.
        ends_on: Kinds of error rows of which one ends the run and is not kept, because every other prompt has the
            parameters that it was refused for.
        besides: From what says whether a document is settled to the prompts of the others, so that a run that resumes
            makes no prompt that it would skip.
        doing: What is done with the documents, and what they are called, for progress.
    """

    prompts: Iterable[Prompt]
    documents: int
    asked_each: int | Callable[[str], int]
    stop: StopRule = field(default_factory=NeverStop)
    ends_on: frozenset[str] = frozenset()
    besides: Callable[[Callable[[str], bool]], Iterable[Prompt]] | None = None
    doing: tuple[str, str] = ("polling", "documents")


def answer_prompts(
    job: Workload,
    *,
    config: EngineConfig,
    folder: RunFolder,
    make_journal: Callable[..., Journal] = Journal,
    engines: Engines | None = None,
) -> int:
    """Asks about every document that is not settled; returns the number of new answers, error rows included.

    Args:
        job: The prompts.
        config: The engine section.
        folder: Run folder that gets the answers.
        make_journal: Called as `Journal`; a benchmark passes one that measures.
        engines: Those to ask; without them the ones that are lent to this thread, or new ones for this run.

    Raises:
        ConfigError: the backend is unknown, or does not take an option.
        EngineError: the engine does not start, or no device is left.
        RunFolderError: answers can no longer be written.
    """
    check_backend(config)
    hide_named(config.backend_options)
    with draining() as drain, make_journal(folder.completions, rows_per_part=config.rows_per_part) as journal:
        ledger = Ledger(folder.completions, asked_each=job.asked_each, stop=job.stop)
        if (lost := lost_answers(folder, ledger.answers) - journal.lost) > 0:
            say(f"{counted(lost, 'answer')} that had been counted are lost; what is missing is asked again")
        if ledger.settled >= job.documents:
            mark_settled(folder, job.documents, ledger.answers, config)  # it may have been killed after its last answer
            return 0
        prompts = job.besides(ledger.is_settled) if job.besides else job.prompts
        work = ledger.left(by_document(prompts))
        drain.asking = True
        hosts = engines or engines_for_run()
        with hosts.session(config, log=folder.log) as devices:
            if spec_of(config.backend).has_kv_cache:
                require_fit(config, devices)
            are_up = hosts.are_up()
            session = Session(folder, config, devices, answers_before=ledger.answers)
            slots = Slots(
                lambda number: hosts.worker(config, devices[number], number, stop=job.stop, log=folder.log),
                end_of_worker(devices, hosts.kill),
                number=len(devices),
                max_restarts=config.max_restarts,
            )
            try:
                with collecting_seldom():
                    metrics = LoadMetrics(folder.load, [str(device) for device in devices])
                    limits = Limits(config.max_in_flight, config.start_timeout_s, config.hang_timeout_s)
                    dispatcher = Dispatcher(work, slots, journal, job.stop, limits, metrics, drain, job.ends_on)
                    tallies = _watched(dispatcher.tallies(), drain)
                    with nullcontext() if are_up else _starting(config, devices):
                        first = next((tally for tally in tallies if slots.ever_ready), Tally())
                    session.started(slots.ready_s)
                    _count(first, tallies, job, ledger, session)
                    metrics.write()
                    if drain.is_set():
                        raise KeyboardInterrupt
                    session.ended(job.documents)
            except BaseException:
                session.stopped()  # recorded whatever the reason
                raise
            finally:
                hosts.give_back({slot.number: slot.worker for slot in slots.active.values()})
            return session.answers


def _starting(config: EngineConfig, devices: list[Device]) -> Waiting:
    what = f"starting {config.backend} with {config.model} on {describe(devices)}: imports, weights, warm-up"
    return Waiting(what, usual_s=spec_of(config.backend).usual_start_s)


def _watched(tallies: Iterator[Tally], drain: Drain) -> Iterator[Tally]:
    """The tallies, until what is in flight has been waited for long enough.

    Raises:
        UnavailableError: Ray itself has ended, where the dispatcher would see workers that do not start.
    """
    for tally in tallies:
        yield tally
        check_ray()
        if drain.is_over:
            say("the answers in flight are not waited for any longer; the next run asks them again")
            return


def _count(first: Tally, tallies: Iterator[Tally], job: Workload, ledger: Ledger, session: Session) -> None:
    saved = 0
    what, unit = job.doing
    with Progress(what, total=job.documents, unit=unit, done=ledger.settled) as progress:
        for tally in chain([first], tallies):
            saved += tally.saved
            session.counted(tally.answers)
            note = f"{session.answers} answers" + (f", {saved} not needed" if saved else "")
            progress.add(tally.documents, note)
