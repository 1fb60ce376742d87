"""Prompts that ask about each label by itself share all that stands before the question."""

import json
from pathlib import Path

import pytest

from xpoll.core.config.file import load_config
from xpoll.core.config.job import Config
from xpoll.core.records import Document, Prompt
from xpoll.personas.persona import Persona
from xpoll.personas.prompts import answer_max_tokens, build_prompts
from xpoll.votes.tasks.registry import KINDS

JOB = """
[documents]
path = "texts.csv"
[task]
kind = "multi"
labels = {price = "What it costs.", service = "", quality = ""}
question = "What is said of the shop?"
examples = [
  {text = "Cheap and good.", labels = ["price", "quality"]},
  {text = "It is blue.", labels = []},
  {text = "All of it.", labels = ["price", "service", "quality"]},
]
[panel]
answer = "read"
"""
PANEL = [Persona("a", "an optimist"), Persona("b", "an auditor")]
ASKED = [
    "Label: price (What it costs). Does it fit the text, yes or no?",
    "Label: service. Does it fit the text, yes or no?",
    "Label: quality. Does it fit the text, yes or no?",
]
FORM = KINDS["multi"].form


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "job.toml").write_text(JOB)
    return load_config(tmp_path / "job.toml")


def prompts_of(config: Config, order: str = "persona_first") -> list[Prompt]:
    documents = [Document("1", "Hot.", "train"), Document("2", "Cold.", "train")]
    return list(build_prompts(documents, PANEL, config, order, form=FORM))  # type: ignore[arg-type]


def test_one_prompt_has_a_question_for_each_label_behind_the_text(config: Config) -> None:
    prompts = prompts_of(config)
    assert [prompt.key[:2] for prompt in prompts] == [("1", "a"), ("1", "b"), ("2", "a"), ("2", "b")]
    first = prompts[0]
    assert (first.answer.choices, first.answer.read) == (("price", "service", "quality"), True)
    wordings = first.wordings()
    assert [messages[:-1] for messages in wordings] == [first.messages[:-1]] * 3
    assert [messages[-1]["content"] for messages in wordings] == [f"Text:\n```\nHot.\n```\n\n{each}" for each in ASKED]
    assert first.messages[0]["content"] == (
        "You are an optimist.\n\nWhat is said of the shop?\n\nAny number of labels can fit, or none. "
        "You are asked about one label at a time. Answer with yes or no."
    )


def test_with_the_text_first_personas_share_it_and_questions_share_the_persona(config: Config) -> None:
    first, second, *_ = prompts_of(config, "text_first")
    assert first.messages[:-1] == second.messages[:-1]
    contents = [messages[-1]["content"] for prompt in (first, second) for messages in prompt.wordings()]
    begins = "Text:\n```\nHot.\n```\n\nAnswer as: "
    assert contents == [f"{begins}{persona.persona}.\n\n{each}" for persona in PANEL for each in ASKED]


def test_an_example_shows_a_label_that_fits_and_one_that_does_not(config: Config) -> None:
    turns = [message["content"] for message in prompts_of(config)[0].messages[1:-1]]
    questions, answers = turns[::2], turns[1::2]
    assert answers == ["yes", "no", "no", "yes"]
    assert [question.rpartition("\n\n")[2] for question in questions] == [ASKED[0], ASKED[1], ASKED[1], ASKED[2]]


def test_an_engine_that_writes_is_asked_one_question_and_held_to_the_list(config: Config) -> None:
    prompt = prompts_of(config)[0]
    written = prompt.in_words()
    assert written.key == prompt.key
    assert written.messages[-1]["content"] == (
        "Text:\n```\nHot.\n```\n\nprice: What it costs. Do not answer yes or no, but with a JSON list of all that fit, "
        "[] if none does, of: price, service, quality."
    )
    schema = json.loads(written.answer.json_schema or "")
    assert schema["items"]["enum"] == ["price", "service", "quality"]
    assert not written.answer.read
    assert not written.answer.choices
    assert answer_max_tokens(config, FORM) > len('["price", "service", "quality"]'), "the list has room"
    assert written.in_words() == written
    assert written.wordings() == [written.messages]
