"""Recorded answers come out as they were recorded; what was not recorded is an error row."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xpoll.core.errors import ConfigError, InputError
from xpoll.core.records import COMPLETION_SCHEMA, AnswerSchema, Completion, Prompt, Sampling, to_table
from xpoll.engine.answer import answer_of
from xpoll.engine.backends.backend import BackendSettings
from xpoll.engine.backends.replay import KEPT, ReplayBackend
from xpoll.engine.devices.find import Device
from xpoll.engine.journal.journal import Journal


def backend(**options: Any) -> ReplayBackend:
    made = ReplayBackend(BackendSettings("none", Device("cpu", 0, "test"), "worker-0", options))
    asyncio.run(made.start())
    return made


def ask(made: ReplayBackend, document_id: str, sample: int, persona_id: str = "p") -> Completion:
    prompt = Prompt(document_id, persona_id, sample, (), Sampling(0.8, 1.0, 16), AnswerSchema(("a", "b")))
    return asyncio.run(made.answer(prompt))


def test_columns_are_samples_and_every_persona_gets_the_same(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("id,first,second\nx,a,b\n")
    made = backend(path=str(tmp_path / "r.csv"), id_column="id", sample_columns=["first", "second"])
    assert [ask(made, "x", sample).text for sample in (0, 1)] == ["a", "b"]
    assert ask(made, "x", 1, "another").text == "b"
    missing = ask(made, "y", 0)
    assert (missing.text, missing.error_kind) == (None, "not_recorded")


def test_the_answers_of_a_run_are_replayed_with_their_logprobs(tmp_path: Path) -> None:
    recorded = Completion("x", "p", 0, text="a", finish_reason="stop", choice_logprobs=(-0.5, -1.0), output_tokens=2)
    failed = Completion("y", "p", 0, error_kind="context_length", error="too long")
    with Journal(tmp_path) as journal:
        journal.append(to_table([recorded, failed], COMPLETION_SCHEMA).to_batches())
    made = backend(path=str(tmp_path))
    again = ask(made, "x", 0)
    assert (again.text, again.choice_logprobs, again.output_tokens) == ("a", (-0.5, -1.0), 2)
    assert ask(made, "y", 0).error_kind == "not_recorded"
    assert ask(made, "x", 0, "another").error_kind == "not_recorded"


def test_a_recorded_label_may_be_a_number_and_a_row_that_does_not_fit_costs_itself(tmp_path: Path) -> None:
    rows = [
        '{"document_id": "x", "persona_id": "p", "sample": 0, "text": 3}',
        '{"document_id": "y", "persona_id": "p", "sample": "first", "text": "a"}',
        '{"persona_id": "p", "sample": 0, "text": "a"}',
        '{"document_id": "y", "persona_id": "p", "text": "a"}',
        '{"document_id": "z", "persona_id": "p", "sample": 0, "text": ["a"]}',
    ]
    (tmp_path / "r.jsonl").write_text("\n".join(rows))
    made = backend(path=str(tmp_path / "r.jsonl"))
    assert ask(made, "x", 0).text == "3"
    assert [ask(made, document_id, 0).error_kind for document_id in "yz"] == ["not_recorded"] * 2


def test_wrong_options_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"unknown config key engine\.replay\.pth -> did you mean engine\.replay\.path"
    ):
        backend(pth="x")
    with pytest.raises(ConfigError, match=r"engine\.replay\.path is missing"):
        backend()
    with pytest.raises(InputError, match="does not exist"):
        backend(path=str(tmp_path / "nowhere.csv"))
    (tmp_path / "r.csv").write_text("id,first\nx,a\n")
    with pytest.raises(InputError, match="has no column 'second'"):
        backend(path=str(tmp_path / "r.csv"), id_column="id", sample_columns=["second"])


def test_recorded_values_of_other_types_cost_their_own_row(tmp_path: Path) -> None:
    path = tmp_path / "recorded.jsonl"
    rows = [
        {"document_id": "a", "persona_id": "p", "sample": 0, "text": "good", "prompt_tokens": "12"},
        {"document_id": "b", "persona_id": "p", "sample": 0, "text": "good", "choice_logprobs": 3},
        {"document_id": "c", "persona_id": "p", "sample": 0, "text": "good", "finish_reason": ["stop"]},
        {"document_id": "d", "persona_id": "p", "sample": 0, "text": "good", "output_tokens": None},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = backend(path=str(path))

    def answered(document_id: str) -> Completion:
        prompt = Prompt(document_id, "p", 0, (), Sampling(0.0, 1.0, 8), AnswerSchema(("good", "bad")))
        return asyncio.run(answer_of(made, prompt))

    assert answered("a").prompt_tokens == 12
    assert [answered(each).error_kind for each in "abcd"] == [None, "malformed", "malformed", None]


recorded = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | st.lists(st.floats(), max_size=3)
)
row = st.dictionaries(st.sampled_from(["document_id", "persona_id", "sample", *KEPT]), recorded, max_size=9)


@settings(max_examples=60, deadline=None)
@given(st.lists(row, min_size=1, max_size=4))
def test_no_file_of_recorded_answers_ends_the_worker(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]
) -> None:
    path = tmp_path_factory.mktemp("recorded") / "recorded.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in [{"document_id": "d", **each} for each in rows]))
    try:
        made = backend(path=str(path))
    except InputError:  # one line
        return
    prompt = Prompt("d", "p", 0, (), Sampling(0.0, 1.0, 8), AnswerSchema(("good", "bad")))
    to_table([asyncio.run(answer_of(made, prompt))], COMPLETION_SCHEMA)
