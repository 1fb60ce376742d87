"""A document that ends vLLM's engine core is found by halves, on a real engine."""

from collections import Counter
from pathlib import Path

import pytest

from tests.support.reckless import POISON
from tests.support.tiny import make_tiny_llama
from xpoll.core.config.job import EngineConfig
from xpoll.core.records import AnswerSchema, Prompt, Sampling
from xpoll.core.run_folder import RunFolder
from xpoll.engine.journal.answers import read_completions
from xpoll.engine.run import Workload, answer_prompts

pytestmark = pytest.mark.engine

DOCUMENTS = 2


def test_a_document_that_kills_vllm_costs_its_own_row_and_no_other(tmp_path: Path) -> None:
    model = make_tiny_llama(tmp_path / "tiny")
    messages = ({"role": "user", "content": "Text: the sun shines"},)
    sampling, schema = Sampling(0.8, 1.0, 4), AnswerSchema(("good", "bad"))
    prompts = (Prompt(f"doc-{i}", "p", 0, messages, sampling, schema) for i in range(DOCUMENTS))
    config = EngineConfig(
        backend="tests.support.reckless:RecklessBackend", device="cpu", model=str(model), max_restarts=1
    )
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    answer_prompts(Workload(prompts, DOCUMENTS, 1), config=config, folder=folder)
    completions = list(read_completions(folder.completions))
    assert len(completions) == len({completion.key for completion in completions}) == DOCUMENTS
    assert Counter(completion.error_kind for completion in completions) == {None: DOCUMENTS - 1, "poison": 1}
    assert {completion.document_id for completion in completions if completion.error_kind} == {POISON}
    assert {completion.text for completion in completions} <= {None, "good", "bad"}
