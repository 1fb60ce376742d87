"""Lines of a batch file become prompts, or say why not; none is left out."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xpoll.core.errors import InputError
from xpoll.core.records import AnswerSchema
from xpoll.engine.batch.requests import Request, read_requests
from xpoll.engine.batch.survey import survey_requests

SCHEMA = {"type": "object", "properties": {"a": {"type": "boolean"}}}


def line(custom_id: object = "x", url: str = "/v1/chat/completions", **body: Any) -> str:
    body = {"model": "m", "messages": [{"role": "user", "content": "hello"}], **body}
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": url, "body": body})


def read(tmp_path: Path, *lines: str) -> list[Request]:
    (tmp_path / "in.batch").write_text("\n".join(lines))
    return list(read_requests(str(tmp_path / "in.batch")))


def test_a_line_becomes_one_prompt_a_choice(tmp_path: Path) -> None:
    messages = [
        {"role": "developer", "content": "be kind"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "name": "eve"},
        {"role": "assistant", "content": "c", "refusal": None, "tool_calls": None},
    ]
    given = {"n": 3, "max_tokens": 7, "max_completion_tokens": 9, "seed": 5, "stop": "#", "logit_bias": {"7": 1}}
    harmless = {"stream": False, "user": "me", "logprobs": False, "tools": None, "tool_choice": "none"}
    (request,) = read(tmp_path, line(messages=messages, temperature=0, top_p=0.5, top_k=4, **given, **harmless))
    assert (request.custom_id, request.model, request.problem) == ("x", "m", None)
    assert [prompt.key for prompt in request.prompts] == [("x", "", 0), ("x", "", 1), ("x", "", 2)]
    assert request.prompts[0].messages == (
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "a\nb", "name": "eve"},
        {"role": "assistant", "content": "c"},
    )
    sampling = request.prompts[0].sampling
    assert (sampling.temperature, sampling.top_p, sampling.max_tokens) == (0, 0.5, 9)
    assert json.loads(sampling.more or "") == {"top_k": 4, "seed": 5, "stop": "#", "logit_bias": {"7": 1}}
    seeds = [json.loads(prompt.sampling.more or "")["seed"] for prompt in request.prompts]
    assert seeds == [5, 6, 7], "choices of one seed would all be the same"


def test_defaults_are_openai_s(tmp_path: Path) -> None:
    (request,) = read(tmp_path, line())
    sampling = request.prompts[0].sampling
    assert (sampling.temperature, sampling.top_p, sampling.max_tokens, sampling.more) == (1, 1, None, None)
    assert request.prompts[0].answer == AnswerSchema()


@pytest.mark.parametrize(
    ("body", "answer", "more"),
    [
        ({"response_format": {"type": "text"}}, AnswerSchema(), None),
        ({"response_format": {"type": "json_object"}}, AnswerSchema(json_schema='{"type": "object"}'), None),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}},
            AnswerSchema(json_schema=json.dumps(SCHEMA)),
            None,
        ),
        ({"structured_outputs": {"json": json.dumps(SCHEMA)}}, AnswerSchema(json_schema=json.dumps(SCHEMA)), None),
        ({"structured_outputs": {"choice": ["a", "b"], "json": None}}, AnswerSchema(choices=("a", "b")), None),
        ({"guided_choice": ["a", "b"]}, AnswerSchema(choices=("a", "b")), None),
        ({"guided_json": SCHEMA}, AnswerSchema(json_schema=json.dumps(SCHEMA)), None),
        ({"guided_regex": "a+"}, AnswerSchema(), {"structured_outputs": {"regex": "a+"}}),
        ({"structured_outputs": {"regex": "a+"}}, AnswerSchema(), {"structured_outputs": {"regex": "a+"}}),
    ],
)
def test_constraints_of_every_spelling_are_kept(
    tmp_path: Path, body: dict[str, Any], answer: AnswerSchema, more: dict[str, Any] | None
) -> None:
    (request,) = read(tmp_path, line(**body))
    assert request.problem is None
    assert request.prompts[0].answer == answer
    assert json.loads(request.prompts[0].sampling.more or "null") == more


def test_what_the_chat_template_is_told_stays_with_the_prompt(tmp_path: Path) -> None:
    (request,) = read(tmp_path, line(chat_template_kwargs={"enable_thinking": False}))
    assert request.problem is None
    assert json.loads(request.prompts[0].sampling.more or "") == {"chat_template_kwargs": {"enable_thinking": False}}


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (line(url="/v1/embeddings"), "url '/v1/embeddings' is not supported; /v1/chat/completions is"),
        (line().replace("POST", "GET"), "method is to be 'POST', got 'GET'"),
        ('{"custom_id": "x", "method": "POST", "url": "/v1/chat/completions"}', "body is no JSON object"),
        (line(messages=[]), "body.messages: List should have at least 1 item"),
        (line(messages=None), "body.messages is missing"),
        (line(messages=[{"role": "tool", "content": "x"}]), "body.messages.0.role: Input should be 'system', "),
        (
            line(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]),
            "body.messages.0 has a part of type 'image_url'; only text can be asked",
        ),
        (line(messages=[{"role": "assistant", "content": "x", "tool_calls": [{}]}]), "tool_calls is not supported"),
        (line(messages=[{"role": "user", "content": "\ud800"}]), "the line holds text that is not UTF-8"),
        (line(tools=[{"type": "function"}]), "body.tools is not supported"),
        (line(stream=True), "body.stream = True is not supported"),
        (line(logprobs=True), "body.logprobs = True is not supported"),
        (line(chat_template_kwargs={"chat_template": "x"}), "body.chat_template_kwargs: Value error, 'chat_template' "),
        (line(n=0), "body.n: Input should be greater than or equal to 1, got 0"),
        (line(n=10**9), "body.n: Input should be less than or equal to 128"),
        (line(max_tokens=0), "body.max_tokens: Input should be greater"),
        (line(temperature=float("nan")), "body.temperature: Input should be a finite number"),
        (line(top_p=2), "body.top_p: Input should be less than or equal to 1, got 2"),
        (line(seed=10**30), "body.seed: "),
        (line(stop=[1]), "body.stop."),
        (line(logit_bias={"a": 1}), "body.logit_bias.a."),
        (line(response_format={"type": "grammar"}), "body.response_format of type 'grammar' is not supported"),
        (line(response_format={"type": "json_schema"}), "body.response_format.json_schema.schema is no JSON object"),
        (line(guided_json="{"), "the JSON schema of the answer is no JSON: "),
        (line(guided_choice=[]), "the choices of the answer are to be a list of texts, got []"),
        (line(structured_outputs={}), "body.structured_outputs names 0 of "),
        (line(structured_outputs={"lark": "x"}), "body.structured_outputs.lark is not supported"),
        (line(guided_regex="a", guided_choice=["a"]), "body constrains the answer in more than one way"),
    ],
)
def test_what_cannot_be_honoured_is_that_line_s_problem(tmp_path: Path, broken: str, said: str) -> None:
    before, request, after = read(tmp_path, line("before"), broken, line("after"))
    assert request.custom_id == "x"
    assert request.problem is not None
    assert said in request.problem
    assert [prompt.problem for prompt in request.prompts] == [request.problem]
    assert before.problem is None
    assert after.problem is None


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ('{"custom_id": "cut', "line 2: line is no JSON: "),
        ("[1]", "line 2: line is no JSON object"),
        ("[" * 100_000, "line 2: line is no JSON: "),
        ('{"method": "POST"}', "line 2: custom_id is missing"),
        (line(""), "line 2: custom_id is missing"),
        (line(5), "line 2: custom_id is no readable text"),
        (line("\ud800"), "line 2: column 'custom_id' is not UTF-8"),
    ],
)
def test_a_line_without_an_id_is_not_asked_and_not_left_out(tmp_path: Path, broken: str, said: str) -> None:
    _, request, _ = read(tmp_path, line("before"), broken, line("after"))
    assert (request.number, request.custom_id, request.prompts) == (1, None, ())
    assert request.problem is not None
    assert request.problem.startswith(said)


def test_a_survey_knows_each_line_by_its_id(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    lines = [line(f"id-{i}", n=1 + i % 3) for i in range(100)]
    path.write_text("\n".join([*lines[:50], "nothing", "", "nothing", *lines[50:]]))
    survey = survey_requests(str(path))
    assert (survey.lines, survey.asked, survey.prompts, survey.models) == (102, 100, 199, ["m"])
    assert survey.numbers_of(["id-99", "id-0", "id-49", "id-50"]).tolist() == [101, 0, 49, 52]
    assert [survey.choices_of(f"id-{i}") for i in range(3)] == [1, 2, 3]
    digest = survey.digest
    path.write_text(path.read_text().replace("hello", "hullo", 1))
    assert survey_requests(str(path)).digest != digest
    path.write_text("\n".join([line("a"), "", line("b"), line("a")]))
    with pytest.raises(InputError, match="input: lines 1 and 3 have the same custom_id"):
        survey_requests(str(path))


def test_what_an_answer_is_held_to_must_hold(tmp_path: Path) -> None:
    constrained = [{"guided_choice": ["a"]}, {"guided_json": SCHEMA}, {"guided_regex": "a+"}]
    for body in constrained:
        (request,) = read(tmp_path, line(**body))
        assert request.prompts[0].answer.must_hold
    (request,) = read(tmp_path, line())
    assert not request.prompts[0].answer.must_hold


def test_a_file_of_which_no_line_can_be_asked_starts_no_engine(tmp_path: Path) -> None:
    (tmp_path / "in.batch").write_text(
        "\n".join([line("a", temperature=-1), line("b", url="/v1/embeddings"), "nonsense"])
    )
    survey = survey_requests(str(tmp_path / "in.batch"))
    assert (survey.lines, survey.asked) == (3, 0)


word = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | word,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(word, inner, max_size=3),
    max_leaves=6,
)
asked = st.dictionaries(
    st.sampled_from(
        ["messages", "n", "temperature", "top_p", "response_format", "structured_outputs", "guided_choice", "stop"]
    ),
    anything,
    max_size=4,
)
lines = st.dictionaries(st.sampled_from(["custom_id", "method", "url"]), anything, max_size=3)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(lines, asked, st.booleans()), min_size=1, max_size=3), st.text(max_size=10))
def test_no_batch_file_is_more_than_its_lines_problems(
    tmp_path_factory: pytest.TempPathFactory, given: list[tuple[dict[str, Any], dict[str, Any], bool]], rest: str
) -> None:
    path = tmp_path_factory.mktemp("batch") / "in.batch"
    made = [json.loads(line(f"id-{i}", **body)) | (odd if torn else {}) for i, (odd, body, torn) in enumerate(given)]
    path.write_bytes("\n".join([*map(json.dumps, made), rest]).encode("utf-8", "surrogatepass"))
    try:
        requests = list(read_requests(str(path)))
    except InputError:  # one line
        return
    for request in requests:
        assert request.prompts or request.problem
