"""The dispatcher on real Ray workers with a simulated engine that fails on purpose."""

from collections import Counter
from pathlib import Path

import pytest

from core.config import Engine
from core.records import AnswerSchema, Prompt, Sampling
from core.run_folder import RunFolder
from engine.journal import read_completions
from engine.run import Job, answer_prompts

pytestmark = pytest.mark.engine

DOCUMENTS = 600


def job() -> Job:
    sampling, schema = Sampling(0.8, 1.0, 16), AnswerSchema(("good", "bad"))
    messages = ({"role": "user", "content": "Text: the sun shines"},)
    prompts = (
        Prompt(f"doc-{i}", "p", sample, messages, sampling, schema) for i in range(DOCUMENTS) for sample in (0, 1)
    )
    return Job(prompts, DOCUMENTS, 2)


def test_poison_of_every_kind_becomes_error_rows_and_all_else_is_answered_once(tmp_path: Path) -> None:
    simulated = {
        "time_scale": 0,
        "exit_on": ["doc-50"],  # the whole process ends
        "die_on": ["doc-200", "doc-201"],  # the engine dies, twice side by side
        "hang_on": ["doc-599"],  # nothing comes any more
    }
    config = Engine(backend="simulated", device="cpu", hang_timeout_s=3, max_in_flight=64, simulated=simulated)
    folder = RunFolder(tmp_path)
    answer_prompts(job(), config=config, folder=folder)
    completions = list(read_completions(folder.completions))
    assert len(completions) == len({completion.key for completion in completions}) == 2 * DOCUMENTS
    poison = {completion.document_id for completion in completions if completion.error_kind == "poison"}
    assert poison == {"doc-50", "doc-200", "doc-201", "doc-599"}
    assert Counter(completion.error_kind for completion in completions) == {None: 2 * DOCUMENTS - 8, "poison": 8}
    assert answer_prompts(job(), config=config, folder=folder) == 0, "a settled run asks nothing"
