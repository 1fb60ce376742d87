"""A prompt that really kills vLLM: on a CPU a seed of a prompt's own ends the whole engine."""

from collections import Counter
from pathlib import Path

import pytest

from core.config import Engine
from core.records import AnswerSchema, Prompt, Sampling
from core.run_folder import RunFolder
from engine.journal import read_completions
from engine.run import Job, answer_prompts
from tests.tiny import make_tiny_llama

pytestmark = pytest.mark.engine

DOCUMENTS, POISON = 6, "doc-4"


def test_a_seed_that_kills_the_engine_costs_its_own_row_and_no_other(tmp_path: Path) -> None:
    model = make_tiny_llama(tmp_path / "tiny")
    messages = ({"role": "user", "content": "Text: the sun shines"},)

    def prompt(document_id: str) -> Prompt:
        more = '{"seed": 1}' if document_id == POISON else None
        return Prompt(document_id, "p", 0, messages, Sampling(0.8, 1.0, 4, more), AnswerSchema(("good", "bad")))

    backend = "tests.engine.reckless:RecklessBackend"
    config = Engine(backend=backend, device="cpu", model=str(model), max_restarts=1)
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    job = Job((prompt(f"doc-{i}") for i in range(DOCUMENTS)), DOCUMENTS, 1)
    answer_prompts(job, config=config, folder=folder)
    completions = list(read_completions(folder.completions))
    assert len(completions) == len({completion.key for completion in completions}) == DOCUMENTS
    assert Counter(completion.error_kind for completion in completions) == {None: DOCUMENTS - 1, "poison": 1}
    assert {completion.document_id for completion in completions if completion.error_kind} == {POISON}
    assert "CPU Generator does not use offset" in folder.log.read_text()
