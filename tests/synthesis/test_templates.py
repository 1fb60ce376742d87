"""Templates are files with a header; what is wrong with one is said in a line."""

import json
from pathlib import Path

import pytest

from xpoll.core.config.job import Config
from xpoll.core.errors import UserError
from xpoll.core.records import Completion
from xpoll.personas.persona import Persona
from xpoll.synthesis.drawing import Draw, TextRequest, messages_of
from xpoll.synthesis.reading import read_text
from xpoll.synthesis.template import library_templates, load_templates, template_of

OWN = """+++
about = "a slogan"
[axes.mood]
loud = "for a stadium"
+++
You write slogans.
---
For {{ persona }}, {{ mood }}.
"""


def config(**more: object) -> Config:
    return Config.model_validate({"synthesis": {"count": 4}, "task": {"labels": {"a_b": "first.", "c": ""}}, **more})


@pytest.mark.parametrize("name", library_templates())
def test_every_template_of_the_library_makes_a_request_of_each_value_of_its_axes(name: str) -> None:
    (template,) = load_templates([name])
    draw = Draw([template], [Persona("p", "a judge of pumpkins")], ["a text about pumpkins"], ["a_b", "c"], 0)
    requests = {json.dumps(messages_of(row, template, config())) for row in draw.rows(0, 36)}
    wanted = 1
    for values in template.header.axes.values():
        wanted *= len(values)
    wanted *= 2 if template.header.labelled else 1
    assert len(requests) >= min(wanted, 9)
    for request in requests:
        system, user = json.loads(request)
        assert system["role"] == "system" and "pumpkins" not in system["content"], "what differs stands behind"
        assert user["role"] == "user" and "pumpkins" in user["content"]


def test_the_library_has_what_persona_hub_has_and_labelled_texts() -> None:
    fields = {template.header.field for template in load_templates(library_templates())}
    assert fields == {
        "knowledge",
        "instruction",
        "mathematics",
        "tools",
        "games",
        "comedy",
        "classification",
        "personas",
    }


def test_a_label_is_shown_in_words_with_its_description_and_examples() -> None:
    (template,) = load_templates(["labelled_text"])
    job = config(task={"labels": {"a_b": "first.", "c": ""}, "examples": [{"text": "one of a", "label": "a_b"}]})
    row = TextRequest(
        "labelled_text-0", "labelled_text", "p", "a judge", "a_b", {"difficulty": "hard", "clarity": "clear"}
    )
    asked = messages_of(row, template, job)[-1]["content"]
    assert '"a b", which means: first.' in asked and "- one of a" in asked and "You are a judge." in asked


def test_a_template_of_one_s_own_needs_no_code(tmp_path: Path) -> None:
    path = tmp_path / "slogan.md"
    path.write_text(OWN)
    (template,) = load_templates([str(path)])
    row = TextRequest("slogan-0", "slogan", "p", "a baker", None, {"mood": "loud"})
    assert [each["content"] for each in messages_of(row, template, config())] == [
        "You write slogans.",
        "For a baker, for a stadium.",
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("no header at all", "has no header"),
        ('+++\nabout = "x\n+++\nbody', "is no TOML"),
        ('+++\nabout = "x"\nanswer = "y"\n+++\nbody', "unknown config key template t.answer"),
        ('+++\nfield = "x"\n+++\nbody', "about is missing"),
        ('+++\nabout = "x"\n+++\n{% if %}', "cannot be used"),
        ('+++\nabout = "x"\n[sampling]\ntemperature = "hot"\n+++\nbody', "cannot be used"),
        ('+++\nabout = "x"\ntext_property = "q"\n+++\nbody', "no property of json_schema"),
        ('+++\nabout = "x"\nshortest_chars = 9\nlongest_chars = 3\n+++\nbody', "at most longest_chars"),
    ],
)
def test_what_is_wrong_with_a_template_is_one_line(content: str, said: str) -> None:
    with pytest.raises(UserError) as raised:
        template_of("t", content)
    assert said in str(raised.value) and "\n" not in str(raised.value)


def test_a_name_that_the_body_does_not_know_is_one_line() -> None:
    template = template_of("t", '+++\nabout = "x"\n+++\nHello {{ nobody }}')
    with pytest.raises(UserError, match="t cannot be filled in: 'nobody' is undefined"):
        messages_of(TextRequest("t-0", "t", "p", "a baker", None, {}), template, config())


def test_a_body_runs_no_code_of_its_own() -> None:
    template = template_of("t", '+++\nabout = "x"\n+++\n{{ persona.__class__.__mro__[1].__subclasses__() }}')
    with pytest.raises(UserError, match="cannot be filled in"):
        messages_of(TextRequest("t-0", "t", "p", "a baker", None, {}), template, config())


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("  Where is my card?  ", "Where is my card?"),
        ('"Where is my card?"', "Where is my card?"),
        ('"Where", she said, "is it?"', '"Where", she said, "is it?"'),
        ("Sure! Here's a message from a baker:\n\nWhere is my card?", "Where is my card?"),
        ("```text\nWhere is my card?\n```", "Where is my card?"),
        ("<think>hm</think>\nWhere is my card?", "Where is my card?"),
        ("Here is my problem: where is my card?", "Here is my problem: where is my card?"),
    ],
)
def test_only_what_models_put_around_a_text_is_taken_off(answer: str, text: str) -> None:
    (template,) = load_templates(["labelled_text"])
    assert read_text(Completion("d", "p", 0, answer, "stop"), template) == (text, None)


@pytest.mark.parametrize(
    ("answer", "reason", "problem"),
    [
        ('{"name": "f", "description": "d", "parameters": [], "returns": "r"}', "stop", None),
        ('{"name": "f"}', "stop", "form: no property 'description'"),
        ("[1]", "stop", "form: no JSON object"),
        ("not JSON", "stop", "form: no JSON"),
        ('{"name": ', "length", "complete: cut off"),
        ("[" * 100_000, "stop", "form: no JSON"),
    ],
)
def test_json_answers_have_the_form_of_their_template(answer: str, reason: str, problem: str | None) -> None:
    (template,) = load_templates(["tool"])
    found = read_text(Completion("d", "p", 0, answer, reason), template)[1]
    assert found is None if problem is None else str(found).startswith(problem)
