"""NLU++ is read as it is published, and its sets are scored by every way to count probabilities."""

import json
from pathlib import Path

import pytest

from xpoll.benchmarks.suites.reads import questions
from xpoll.benchmarks.workloads.label_questions import measure_questions, question_config
from xpoll.benchmarks.workloads.nlu_plus_plus import nlu_plus_plus
from xpoll.core.errors import ConfigError
from xpoll.core.questions import fitting
from xpoll.core.records import Completion, Prompt
from xpoll.engine.devices.find import Device

INTENTS = {
    "balance": {"description": "is the intent to ask about balance?", "domain": ["banking"]},
    "how_much": {"description": "is the intent asking about some quantity?", "domain": ["general"]},
    "spa": {"description": "is the intent to ask about a spa?", "domain": ["hotels"]},
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "nlupp_banking"
    folder.mkdir()
    (folder / "ontology.json").write_text(json.dumps({"intents": INTENTS}))
    rows = [{"text": "how much is there?", "intents": ["how_much", "balance"]}, {"text": "at noon", "slots": {}}]
    for number in range(5):
        rows.append({"text": f"balance {number}", "intents": ["balance"]})
        (folder / f"fold{number}.json").write_text(json.dumps(rows))
    return tmp_path


def test_queries_with_intents_of_the_bank_are_drawn_from_the_folds_of_a_split(data: Path) -> None:
    found = nlu_plus_plus(str(data), "test", rows=100, seed=1)
    assert found.labels == {
        "balance": "is the intent to ask about balance",
        "how much": "is the intent asking about some quantity",
    }
    by_text = dict(zip(found.texts, found.truth.tolist(), strict=True))
    assert by_text["how much is there?"] == [True, True]
    assert by_text["balance 4"] == [True, False]
    assert "at noon" not in by_text
    assert len(nlu_plus_plus(str(data), "train", rows=3, seed=1).texts) == 3
    with pytest.raises(ConfigError, match=r"parameters\.data"):
        nlu_plus_plus(str(data / "elsewhere"), "test", rows=1, seed=1)


def test_cost_and_scores_are_those_of_the_answers(data: Path) -> None:
    rows = nlu_plus_plus(str(data), "test", rows=100, seed=1)
    config = question_config(rows, model="no-such-model", personas=["annotator", "auditor"])

    def answered(prompts: list[Prompt]) -> list[Completion]:
        """Right, and sure of it; 30 of the 100 tokens of a prompt are computed."""
        made = []
        for prompt in prompts:
            fits = rows.truth[int(prompt.document_id)]
            logprobs = tuple(-0.05 if each else -3.0 for each in fits)
            text = fitting(prompt.answer.choices, logprobs)
            made.append(
                Completion(*prompt.key, text, prompt_tokens=100, cached_prompt_tokens=70, choice_logprobs=logprobs)
            )
        return made

    cost, *scores = measure_questions(config, rows, Device("cpu", 0, "a processor"), answered)  # type: ignore[arg-type]
    assert (cost["texts"], cost["labels"]) == (len(rows.texts), 2)
    assert cost["uncached_tokens_per_label"] == 30, "two personas of two labels each"
    assert cost["predicted_uncached_tokens_per_label"] > 0
    assert [record["arm"] for record in scores] == ["questions: majority", "questions: calibrated"]
    assert (scores[0]["set_accuracy"], scores[0]["f1_micro"]) == (1.0, 1.0)


def test_without_the_data_the_part_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    parameters = {"data": "", "question_split": "test", "question_rows": 3, "seed": 1}
    assert questions(parameters) == {"records": []}
    assert "questions are left out: parameters.data" in capsys.readouterr().err
