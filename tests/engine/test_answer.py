"""Whatever a backend says becomes a completion that fits the schema, or that row's error."""

import asyncio
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xpoll.core import secrets
from xpoll.core.error_kinds import KINDS
from xpoll.core.errors import EngineError, UnavailableError
from xpoll.core.records import COMPLETION_SCHEMA, AnswerSchema, Completion, Prompt, Sampling, to_table
from xpoll.engine.answer import MOST_TOKENS, answer_of, fitted
from xpoll.engine.backends.backend import Backend, EngineDeadError
from xpoll.engine.backends.openai.chat_api import completion_fields, error_message, failure_of
from xpoll.engine.scheduler import Scheduler
from xpoll.engine.work import NeverStop, Work
from xpoll.votes.parse import to_vote

LABELS = ["good", "bad"]
PROMPT = Prompt("d", "p", 0, ({"role": "user", "content": "x"},), Sampling(0.8, 1.0, 16), AnswerSchema(("good", "bad")))
GOOD = Completion(*PROMPT.key, text="good", finish_reason="stop")


def fits(answer: Completion) -> bool:
    """Whether an answer can be written and read; raises where not."""
    to_table([answer], COMPLETION_SCHEMA)
    to_vote(answer, LABELS)
    assert answer.key == PROMPT.key
    assert (answer.text is None) == (answer.error_kind is not None)
    assert (answer.error is None) == (answer.error_kind is None)
    return True


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"text": ["x"]}, "text is list ['x'], not a text"),
        ({"text": b"good"}, "text is bytes"),
        ({"finish_reason": 1}, "finish_reason is int 1, not a text"),
        ({"prompt_tokens": "12"}, "prompt_tokens is str '12', not a whole number"),
        ({"output_tokens": 1.5}, "output_tokens is float"),
        ({"cached_prompt_tokens": None}, "cached_prompt_tokens is NoneType"),
        ({"choice_logprobs": "-0.1"}, "choice_logprobs is str"),
        ({"choice_logprobs": (-0.1,)}, "1 numbers for 2 choices"),
        ({"choice_logprobs": (math.nan, -0.1)}, "no logarithms"),
        ({"choice_logprobs": (-math.inf, -math.inf)}, "no logarithms"),
        ({"unread_choices": "one"}, "unread_choices is str"),
        ({"started_unix_s": "now"}, "started_unix_s is str"),
        ({"latency_s": math.nan}, "latency_s is float nan"),
        ({"worker": None}, "worker is NoneType"),
        ({"error_kind": 500}, "error_kind is int"),
    ],
)
def test_what_does_not_fit_is_that_row_s_error(changed: dict[str, Any], said: str) -> None:
    answer = fitted(GOOD._replace(**changed), PROMPT)
    assert answer.error_kind == "malformed"
    assert said in str(answer.error)
    assert fits(answer)


@pytest.mark.parametrize(
    ("changed", "kept"),
    [
        ({"text": "a\ud83d"}, {"text": "a\ufffd"}),
        ({"text": "\ud83d\ude00"}, {"text": "\U0001f600"}),
        ({"prompt_tokens": 3_000_000_000}, {"prompt_tokens": MOST_TOKENS}),
        ({"output_tokens": -1}, {"output_tokens": 0}),
        ({"choice_logprobs": [-0.1, -2.0]}, {"choice_logprobs": (-0.1, -2.0)}),
        ({"document_id": "another"}, {"document_id": "d"}),
    ],
)
def test_what_can_be_made_to_fit_is(changed: dict[str, Any], kept: dict[str, Any]) -> None:
    answer = fitted(GOOD._replace(**changed), PROMPT)
    assert {name: getattr(answer, name) for name in kept} == kept
    assert answer.error_kind is None
    assert fits(answer)


def test_an_answer_that_fits_is_left_alone() -> None:
    assert fitted(GOOD, PROMPT) is GOOD


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (GOOD._replace(finish_reason="error"), "engine"),
        (GOOD._replace(finish_reason="abort"), "engine"),
        (GOOD._replace(finish_reason="content_filter"), "content_filter"),
        (GOOD._replace(text=None), "no_text"),
        (GOOD._replace(error_kind="refused", error=None), "refused"),
        (None, "malformed"),
        ({"text": "good"}, "malformed"),
    ],
)
def test_a_request_without_an_answer_is_no_empty_answer(answer: Any, kind: str) -> None:
    row = fitted(answer, PROMPT)
    assert row.error_kind == kind
    assert row.error_kind in KINDS
    assert fits(row)


class Says:
    """A backend that returns or raises what a test says, by document."""

    def __init__(self, said: dict[str, Any]) -> None:
        self.said = said

    async def start(self) -> None: ...

    async def answer(self, prompt: Prompt) -> Completion:
        said = self.said.get(prompt.document_id, Completion(*prompt.key, text="good"))
        if isinstance(said, BaseException):
            raise said
        return said  # type: ignore[no-any-return]

    def load(self) -> None:
        return None

    def stop(self) -> None: ...


def exchanged(said: dict[str, Any], *document_ids: str) -> Any:
    """The replies of a scheduler until all documents are settled, or the run has to end."""

    async def run() -> list[Any]:
        backend: Backend = Says(said)
        scheduler = Scheduler(backend, stop=NeverStop(), max_in_flight=8)
        work = [Work(each, (PROMPT._replace(document_id=each),)) for each in document_ids]
        replies = [await scheduler.exchange(work, 1.0)]
        while replies[-1].ended is None and sum(len(reply.finished) for reply in replies) < len(document_ids):
            replies.append(await scheduler.exchange([], 1.0))
        return replies

    return asyncio.run(run())


def test_one_odd_answer_of_three_costs_its_own_row() -> None:
    replies = exchanged({"b": Completion("b", "p", 0, text=["x"])}, "a", "b", "c")  # type: ignore[arg-type]
    rows = {row["document_id"]: row["error_kind"] for reply in replies for row in reply.answers.to_pylist()}
    assert rows == {"a": None, "b": "malformed", "c": None}


def test_a_run_that_has_to_end_keeps_what_was_answered() -> None:
    replies = exchanged({"b": UnavailableError("no credit", mend="add some")}, "a", "b", "c")
    rows = [row["document_id"] for reply in replies if reply.answers for row in reply.answers.to_pylist()]
    assert sorted(rows) == ["a", "c"]
    assert str(replies[-1].ended) == "no credit -> add some"
    assert replies[-1].ended.exit_code == 75


def test_no_row_shows_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_known", None)
    monkeypatch.setenv("SOME_TOKEN", "planted-secret-value")
    echo = "Authorization: Bearer planted-secret-value"
    said: list[Any] = [
        Completion(*PROMPT.key, text=echo),
        Completion(*PROMPT.key, error_kind="refused", error=echo),
        Completion(*PROMPT.key, text={"echo": echo}),  # type: ignore[arg-type]
        ValueError(echo),
        EngineDeadError(echo),
        EngineError(echo),
    ]
    for each in said:
        try:
            shown = repr(asyncio.run(answer_of(Says({"d": each}), PROMPT)))
        except (EngineDeadError, EngineError) as error:
            shown = repr(error)
        assert "planted-secret-value" not in shown
        assert "***" in shown


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=[]), max_size=20)
    | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(Completion._fields), anything, max_size=5))
def test_no_completion_ends_the_worker(changed: dict[str, Any]) -> None:
    assert fits(fitted(GOOD._replace(**changed), PROMPT))


message = st.fixed_dictionaries(
    {}, optional={"content": anything, "reasoning_content": anything, "refusal": anything, "reasoning": anything}
)
choice = st.fixed_dictionaries(
    {}, optional={"index": anything, "message": message | anything, "finish_reason": anything, "logprobs": anything}
)
body = st.fixed_dictionaries(
    {},
    optional={
        "choices": st.lists(choice, max_size=3) | anything,
        "usage": st.dictionaries(st.sampled_from(["prompt_tokens", "completion_tokens"]), anything) | anything,
        "error": st.dictionaries(st.sampled_from(["message", "code", "type", "param"]), anything) | anything,
    },
)


@settings(max_examples=400, deadline=None)
@given(body | anything)
def test_no_response_of_an_endpoint_ends_the_worker(said: Any) -> None:
    assert isinstance(error_message(said), str)
    failed = failure_of(said)
    assert failed is None or 400 <= failed[0] < 600
    try:
        outcomes = completion_fields(said, PROMPT.answer)
    except ValueError:  # retried, and an error row at the end
        return
    for outcome in outcomes:
        assert fits(fitted(Completion(*PROMPT.key, **outcome), PROMPT))
