"""No response of an endpoint is more than an error that the rows are asked with again, or end with."""

import math
from contextlib import suppress
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.hostile import anything, examples
from xpoll.core.records import COMPLETION_SCHEMA, AnswerSchema, Completion, Prompt, Sampling, to_table
from xpoll.engine.answer import fitted
from xpoll.engine.backends.openai.chat_api import (
    completion_fields,
    error_message,
    failure_of,
    is_out_of_credit,
)
from xpoll.engine.backends.openai.retries import retry_after_s, retry_kind

ANSWER = AnswerSchema(("good", "bad"), logprobs=True)
PROMPT = Prompt("d", "p", 0, (), Sampling(0.0, 1.0, 8), ANSWER)
KEYS = [
    *("choices", "usage", "error", "code", "type", "message", "content", "finish_reason", "logprobs", "top_logprobs"),
    *("token", "logprob", "prompt_tokens", "completion_tokens", "prompt_tokens_details", "cached_tokens", "index"),
    *("refusal", "reasoning_content", "text"),
]
body = st.recursive(
    anything,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=10,
)
choice = st.fixed_dictionaries(
    {"message": st.fixed_dictionaries({"content": body}, optional={"refusal": body, "reasoning": body})},
    optional={"finish_reason": body, "logprobs": body, "index": body},
)
response = body | st.fixed_dictionaries({"choices": st.lists(choice, max_size=2)}, optional={"usage": body})


@examples(80)
@given(response)
@example({"choices": [{"message": {"content": "good"}, "logprobs": 3}], "usage": {"prompt_tokens": "x"}})
@example({"choices": [{"message": None}]})
def test_any_body_of_a_response(found: Any) -> None:
    failure_of(found)
    error_message(found)
    is_out_of_credit(429, found)
    with suppress(ValueError):
        for fields in completion_fields(found, ANSWER):
            to_table([fitted(Completion(*PROMPT.key, **fields), PROMPT)], COMPLETION_SCHEMA)


@examples(50)
@given(st.text(max_size=40) | st.from_regex(r"\A\w{3}, \d{1,3} \w{3} \d{1,6} \d\d:\d\d:\d\d [+-]?\w{1,6}\Z"))
@example("nan")
@example("inf")
@example("Thu, 31 Dec 9999 23:59:59 -2359")
@example("Mon, 01 Jan 0001 00:00:00 +2359")
@example("Thu, 01 Jan 1970 00:00:00 +99999999999")
@example("1" * 5000)
def test_any_retry_after(header: str) -> None:
    wait_s = retry_after_s(header, 1.8e9)
    assert wait_s is None or (wait_s >= 0 and not math.isnan(wait_s))


@given(st.integers(-1, 10_000))
def test_any_status(status: int) -> None:
    assert retry_kind(status) in (None, "rate_limited", "timeout", "server")
