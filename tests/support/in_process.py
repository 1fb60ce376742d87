"""Answers a workload in the test's own process: no Ray, and what a test put into a table is seen."""

import asyncio

from xpoll.core.config.job import EngineConfig
from xpoll.core.records import COMPLETION_SCHEMA, Completion, to_table
from xpoll.core.run_folder import RunFolder
from xpoll.engine.answer import answer_of
from xpoll.engine.backends.backend import BackendSettings
from xpoll.engine.backends.registry import check_backend, make_backend
from xpoll.engine.devices.find import Device
from xpoll.engine.journal.journal import Journal
from xpoll.engine.journal.ledger import Ledger
from xpoll.engine.journal.session import Session, mark_settled
from xpoll.engine.run import Workload
from xpoll.engine.work import by_document

APPENDED_AT_ONCE = 16


def answer_in_process(job: Workload, *, config: EngineConfig, folder: RunFolder) -> int:
    """As `answer_prompts`, but all prompts of a document are asked whatever the stop rule says of the first ones."""
    check_backend(config)
    with Journal(folder.completions, rows_per_part=config.rows_per_part) as journal:
        ledger = Ledger(folder.completions, asked_each=job.asked_each, stop=job.stop)
        if ledger.settled >= job.documents:
            mark_settled(folder, job.documents, ledger.answers, config)
            return 0
        device = Device("cpu", 0, "test")
        backend = make_backend(
            config.backend, BackendSettings(config.model, device, "worker-0", config.backend_options)
        )
        session = Session(folder, config, [device], answers_before=ledger.answers)
        session.started({0: 0.0})

        async def answered() -> list[Completion]:
            await backend.start()
            work = [left for each in by_document(job.prompts) if (left := ledger.left_of(each)) is not None]
            return [await answer_of(backend, prompt) for each in work for prompt in each.prompts]

        answers = asyncio.run(answered())
        backend.stop()
        for i in range(0, len(answers), APPENDED_AT_ONCE):
            journal.append(to_table(answers[i : i + APPENDED_AT_ONCE], COMPLETION_SCHEMA).to_batches())
        session.counted(len(answers))
        session.ended(job.documents)
    return len(answers)
