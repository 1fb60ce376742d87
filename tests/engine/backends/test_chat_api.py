"""Prompts become chat completion requests, and responses become the fields of completions."""

import json
import math
from typing import Any

import pytest

from xpoll.core.questions import Questions
from xpoll.core.records import AnswerSchema, Prompt, Sampling
from xpoll.engine.backends.openai.chat_api import Offers, completion_fields, error_message, fold_system, request_body

SCHEMA = {"type": "object", "properties": {"label": {"type": "string", "enum": ["good", "bad"]}}}
CHOICES = AnswerSchema(("good", "bad"), logprobs=True)
JSON = AnswerSchema(("good", "bad"), json.dumps(SCHEMA), "label", logprobs=True)
FREE = AnswerSchema()


def prompt(answer: AnswerSchema = CHOICES, more: str | None = None) -> Prompt:
    return Prompt("d", "p", 0, ({"role": "user", "content": "hello"},), Sampling(0.8, 0.9, 16, more), answer)


def test_a_request_carries_messages_sampling_and_what_the_engine_alone_knows() -> None:
    body = request_body(prompt(more='{"stop": ["##"], "top_k": 5}'), model="m", offers=Offers(), n=3)
    assert body["model"] == "m"
    assert body["messages"] == [{"role": "user", "content": "hello"}]
    assert (body["temperature"], body["top_p"], body["max_tokens"], body["n"]) == (0.8, 0.9, 16, 3)
    assert (body["stop"], body["top_k"]) == (["##"], 5)
    assert (body["logprobs"], body["top_logprobs"]) == (True, 20)
    assert "n" not in request_body(prompt(), model="m", offers=Offers())


@pytest.mark.parametrize(
    ("constraint", "answer", "sent"),
    [
        ("vllm", CHOICES, {"structured_outputs": {"choice": ["good", "bad"]}}),
        ("vllm", JSON, {"structured_outputs": {"json": SCHEMA}}),
        ("vllm", FREE, {}),
        ("response_format", CHOICES, {}),
        (
            "response_format",
            JSON,
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
                }
            },
        ),
        ("none", JSON, {}),
    ],
)
def test_each_endpoint_is_constrained_in_its_own_way(constraint: Any, answer: AnswerSchema, sent: Any) -> None:
    body = request_body(prompt(answer), model="m", offers=Offers(constraint=constraint))
    assert {key: body[key] for key in ("structured_outputs", "response_format") if key in body} == sent


def step(token: str, **alternatives: float) -> dict[str, Any]:
    top = [{"token": text, "logprob": math.log(share)} for text, share in alternatives.items()]
    logprob = math.log(alternatives.get(token, 0.5))
    return {"token": token, "logprob": logprob, "top_logprobs": top}


def response(*choices: dict[str, Any], **usage: Any) -> dict[str, Any]:
    return {"choices": [{"index": i, "finish_reason": "stop", **choice} for i, choice in enumerate(choices)], **usage}


def test_a_response_becomes_a_completion_with_logprobs_of_its_choices() -> None:
    said = {"message": {"content": "good"}, "logprobs": {"content": [step("good", good=0.75, bad=0.25)]}}
    usage = {"prompt_tokens": 40, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 32}}
    (fields,) = completion_fields(response(said, usage=usage), CHOICES)
    assert fields["text"] == "good"
    assert (fields["prompt_tokens"], fields["cached_prompt_tokens"], fields["output_tokens"]) == (40, 32, 1)
    assert [round(math.exp(logprob), 6) for logprob in fields["choice_logprobs"]] == [0.75, 0.25]


def test_logprobs_inside_json_are_those_of_the_label() -> None:
    steps = [step('{"label": "', **{'{"label": "': 1.0}), step("bad", bad=0.9, good=0.1), step('"}', **{'"}': 1.0})]
    said = {"message": {"content": '{"label": "bad"}'}, "logprobs": {"content": steps}}
    (fields,) = completion_fields(response(said), JSON)
    assert [round(math.exp(logprob), 6) for logprob in fields["choice_logprobs"]] == [0.1, 0.9]


def test_a_token_outside_its_own_alternatives_is_counted() -> None:
    said = {"message": {"content": "bad"}, "logprobs": {"content": [step("bad", good=0.5)]}}
    (fields,) = completion_fields(response(said), CHOICES)
    assert [round(math.exp(logprob), 6) for logprob in fields["choice_logprobs"]] == [0.5, 0.5]


def test_several_answers_of_one_request_sum_to_what_the_endpoint_counted() -> None:
    said = [{"message": {"content": text}} for text in ("good", "bad", None)]
    usage = {"prompt_tokens": 40, "completion_tokens": 8, "prompt_tokens_details": None}
    fields = completion_fields(response(*said, usage=usage), CHOICES)
    assert [each["text"] for each in fields] == ["good", "bad", ""]
    assert [each["output_tokens"] for each in fields] == [3, 3, 2]
    assert sum(each.get("prompt_tokens", 0) for each in fields) == 40


@pytest.mark.parametrize("body", [{}, {"choices": []}, {"choices": [{}]}, {"choices": [{"message": "hi"}]}, []])
def test_what_is_no_chat_completion_is_refused(body: Any) -> None:
    with pytest.raises(ValueError, match="not a chat completion"):
        completion_fields(body, CHOICES)


@pytest.mark.parametrize(
    ("complaint", "left"),
    [
        ("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", "length_key"),
        ("You are not allowed to request logprobs from this model", "logprobs"),
        ("Invalid schema for response_format 'answer': 'maxLength' is not permitted.", "strict"),
        ("`n` must be 1", "n"),
        ("n: only 1 is supported", "n"),
    ],
)
def test_a_refused_feature_is_left_out_from_then_on(complaint: str, left: str) -> None:
    offers = Offers(constraint="response_format")
    body = request_body(prompt(JSON), model="m", offers=offers, n=2)
    without = offers.without(complaint, body)
    assert without is not None
    assert [name for name in Offers.__slots__ if getattr(without, name) != getattr(offers, name)] == [left]
    body = request_body(prompt(JSON), model="m", offers=without, n=2 if without.n else 1)
    assert without.without(complaint, body) is None, "it would be asked for ever"


def test_another_refusal_changes_nothing() -> None:
    body = request_body(prompt(), model="m", offers=Offers(), n=2)
    assert Offers().without("the text is not allowed in this region", body) is None


def test_errors_are_read_in_every_form_they_come_in() -> None:
    assert error_message({"error": {"message": "no", "code": 400, "param": "n"}}) == "no (n)"
    assert error_message({"error": {"message": "too long", "code": "context_length_exceeded"}}).endswith("exceeded)")
    assert error_message({"detail": "Not Found"}) == "Not Found"
    assert error_message("<html>\n Bad  Gateway") == "<html> Bad Gateway"


def test_the_system_message_is_folded_into_the_first_turn() -> None:
    system, user = {"role": "system", "content": "You are."}, {"role": "user", "content": "Text"}
    assert fold_system([system, user]) == [{"role": "user", "content": "You are.\n\nText"}]
    assert fold_system([user]) == [user]


def test_an_endpoint_is_asked_all_questions_as_one_and_its_row_says_that_no_probability_was_read() -> None:
    listed = json.dumps({"type": "array", "items": {"enum": ["good", "bad"]}})
    questions = Questions(("Good?", "Bad?"), "Which of good, bad?")
    asked = AnswerSchema(("good", "bad"), listed, logprobs=True, read=True, questions=questions)
    body = request_body(prompt(asked), model="m", offers=Offers())
    assert body["messages"] == [{"role": "user", "content": "hello\n\nWhich of good, bad?"}]
    assert body["structured_outputs"] == {"json": json.loads(listed)}
    assert "logprobs" not in body
    (fields,) = completion_fields(response({"message": {"content": '["bad"]'}}), asked)
    assert (fields["text"], fields["unread_choices"], fields.get("choice_logprobs")) == ('["bad"]', 2, None)
