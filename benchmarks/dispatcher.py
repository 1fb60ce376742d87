"""How many answers a second the dispatcher, one worker and the journal carry when the engine takes no time."""

import os
import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.config import Engine
from core.files import read_json
from core.records import AnswerSchema, Message, Prompt, Sampling
from core.run_folder import RunFolder
from engine.run import Job, answer_prompts


def measure_dispatcher(parameters: dict[str, Any]) -> dict[str, float]:
    """One run into a temporary folder. Rates are over the time behind the engine's start."""
    documents = int(parameters["documents"])
    config = Engine(
        backend="simulated", device="cpu", max_in_flight=parameters["max_in_flight"], simulated={"time_scale": 0}
    )
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(Path(folder))
        answers = answer_prompts(Job(_prompts(documents), documents, 1), config=config, folder=run)
        wall_s = read_json(run.engine)["sessions"][-1]["wall_s"]
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "documents": documents,
        "answers": answers,
        "wall_s": wall_s,
        "answers_per_s": round(answers / wall_s, 1),
        "driver_peak_memory_mib": round(peak_kib / 1024, 1),
        "cores": len(os.sched_getaffinity(0)),
    }


def _prompts(documents: int) -> Iterator[Prompt]:
    """One question each, with the messages of a real one: a persona that all share, and a sentence."""
    sampling, schema = Sampling(0.8, 1.0, 16), AnswerSchema(("negative", "neutral", "positive"))
    system: Message = {"role": "system", "content": "You are a careful reader of business news. " * 5}
    for i in range(documents):
        question: Message = {"role": "user", "content": f"Text: sentence {i} of those that are asked about here"}
        yield Prompt(f"doc-{i}", "persona", 0, (system, question), sampling, schema)
