"""Answers a workload in the test's own process: no Ray, and what a test put into a table is seen."""

import asyncio

from xpoll.core.config import EngineConfig
from xpoll.core.files import write_json
from xpoll.core.records import COMPLETION_SCHEMA, Completion, to_table
from xpoll.core.run_folder import RunFolder
from xpoll.engine.backends.backend import BackendSettings
from xpoll.engine.backends.registry import check_backend, make_backend
from xpoll.engine.devices.find import Device
from xpoll.engine.journal.journal import Journal
from xpoll.engine.journal.session import is_settled
from xpoll.engine.run import Workload


def answer_in_process(job: Workload, *, config: EngineConfig, folder: RunFolder) -> int:
    """As `answer_prompts`, but a document that was begun is not gone on with, and no stop rule is asked."""
    check_backend(config)
    if is_settled(folder, job.documents):
        return 0
    device = Device("cpu", 0, "test")
    backend = make_backend(config.backend, BackendSettings(config.model, device, "worker-0", config.backend_options))

    async def answered() -> list[Completion]:
        await backend.start()
        return [await backend.answer(prompt) for prompt in job.prompts]

    answers = asyncio.run(answered())
    backend.stop()
    with Journal(folder.completions) as journal:
        journal.append(to_table(answers, COMPLETION_SCHEMA).to_batches())
    write_json(folder.engine, {"settled_documents": job.documents})
    return len(answers)
