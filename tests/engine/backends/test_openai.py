"""The openai backend against an endpoint that limits, fails, lags and refuses."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.fake_endpoint import Answer, FakeEndpoint, Script, completion, refusal, serving
from xpoll.core.errors import ConfigError, EngineError
from xpoll.core.records import AnswerSchema, Completion, Prompt, Sampling
from xpoll.engine.backends.backend import BackendSettings, EngineDeadError
from xpoll.engine.backends.openai.backend import OpenAIBackend
from xpoll.engine.devices.find import Device

CHOICES = AnswerSchema(("good", "bad"))


@pytest.fixture
def endpoint() -> Iterator[FakeEndpoint]:
    with serving(FakeEndpoint(lambda body, _: completion(body))) as made:
        yield made


def prompt(document_id: str = "d", sample: int = 0, answer: AnswerSchema = CHOICES) -> Prompt:
    messages = ({"role": "user", "content": f"Text: {document_id}"},)
    return Prompt(document_id, "p", sample, messages, Sampling(0.8, 1.0, 16), answer)


def ask(endpoint: FakeEndpoint, *prompts: Prompt, model: str = "m", **options: Any) -> list[Completion]:
    options = {"base_url": endpoint.url, "first_wait_s": 0.01, **options}
    settings = BackendSettings(model, Device("cpu", 0, "test"), "worker-0", options)

    async def run() -> list[Completion]:
        backend = OpenAIBackend(settings)
        await backend.start()
        try:
            return await asyncio.gather(*map(backend.answer, prompts))
        finally:
            backend.stop()
            await asyncio.sleep(0)

    return asyncio.run(run())


def test_an_answer_comes_with_its_key_and_counts(endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "s3cret")
    (answer,) = ask(endpoint, prompt(), api_key_env="MY_KEY", extra_body={"reasoning_effort": "low"})
    assert (answer.text, answer.finish_reason, answer.error_kind) == ("good", "stop", None)
    assert (answer.prompt_tokens, answer.output_tokens, answer.worker, answer.device) == (10, 1, "worker-0", "cpu:0")
    assert endpoint.headers[0]["Authorization"] == "Bearer s3cret"
    assert endpoint.bodies[0]["reasoning_effort"] == "low"
    assert "structured_outputs" not in endpoint.bodies[0]


def test_an_endpoint_without_a_key_is_asked_without_one(
    endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    ask(endpoint, prompt())
    assert "Authorization" not in endpoint.headers[0]


def test_a_vllm_server_is_known_by_its_models(endpoint: FakeEndpoint) -> None:
    endpoint.models.body["data"][0]["owned_by"] = "vllm"
    ask(endpoint, prompt())
    assert endpoint.bodies[0]["structured_outputs"] == {"choice": ["good", "bad"]}


def once(first: Answer) -> Script:
    return lambda body, number: first if number == 0 else completion(body)


@pytest.mark.parametrize(
    "first",
    [
        refusal(429, "slow down", **{"Retry-After": "0.2"}),
        refusal(503, "loading"),
        refusal(500, "oops"),
        Answer(raw="<html>this is no JSON"),
        Answer(body={"choices": []}),
        Answer(raw='{"choices": [', status=200),
        Answer(delay_s=1.5),
    ],
    ids=["429", "503", "500", "no JSON", "no choices", "half a JSON", "too slow"],
)
def test_what_may_pass_is_asked_again(endpoint: FakeEndpoint, first: Answer) -> None:
    endpoint.script = once(first)
    (answer,) = ask(endpoint, prompt(), request_timeout_s=0.5)
    assert (answer.text, answer.error_kind) == ("good", None)
    assert len(endpoint.bodies) == 2
    if "Retry-After" in first.headers:
        assert answer.latency_s >= 0.2


@pytest.mark.parametrize(
    ("always", "kind", "asked"),
    [
        (refusal(429, "slow down"), "rate_limited", 3),
        (refusal(429, "tomorrow", **{"Retry-After": "86400"}), "rate_limited", 1),
        (refusal(500, "oops"), "server", 3),
        (Answer(delay_s=1.5), "timeout", 3),
        (refusal(400, "the text is not allowed"), "refused", 1),
        (refusal(400, "This model's maximum context length is 512 tokens."), "context_length", 1),
        (refusal(422, "no such field"), "refused", 1),
    ],
)
def test_what_does_not_pass_is_an_error_row(endpoint: FakeEndpoint, always: Answer, kind: str, asked: int) -> None:
    endpoint.script = lambda *_: always
    (answer,) = ask(endpoint, prompt(), max_retries=2, request_timeout_s=0.2)
    assert (answer.error_kind, answer.text) == (kind, None)
    assert answer.error
    assert len(endpoint.bodies) == asked


def test_one_refused_row_does_not_touch_the_others(endpoint: FakeEndpoint) -> None:
    def script(body: dict[str, Any], _number: int) -> Answer:
        bad = body["messages"][0]["content"] == "Text: 3"
        return refusal(400, "not allowed") if bad else completion(body)

    endpoint.script = script
    answers = ask(endpoint, *(prompt(str(i)) for i in range(8)))
    assert [answer.error_kind for answer in answers] == [None] * 3 + ["refused"] + [None] * 4


def test_samples_of_one_text_are_one_request(endpoint: FakeEndpoint) -> None:
    endpoint.script = lambda body, _: completion(body, *["one", "two", "three"][: body.get("n", 1)])
    answers = ask(endpoint, *(prompt(sample=i) for i in range(3)), prompt("other"))
    assert [answer.text for answer in answers] == ["one", "two", "three", "one"]
    assert [answer.sample for answer in answers] == [0, 1, 2, 0]
    assert sorted(body.get("n", 1) for body in endpoint.bodies) == [1, 3]
    assert sum(answer.prompt_tokens for answer in answers) == 20, "a prompt is counted once a request"


@pytest.mark.parametrize("said", [refusal(400, "n: only n = 1 is supported"), None], ids=["refused", "ignored"])
def test_where_n_is_not_offered_samples_are_asked_alone(endpoint: FakeEndpoint, said: Answer | None) -> None:
    def script(body: dict[str, Any], _number: int) -> Answer:
        return said if said and body.get("n", 1) > 1 else completion(body, "good")

    endpoint.script = script
    answers = ask(endpoint, *(prompt(sample=i) for i in range(3)))
    assert [(answer.text, answer.error_kind) for answer in answers] == [("good", None)] * 3
    assert [body.get("n", 1) for body in endpoint.bodies] == [3, 1, 1, 1] if said else [3, 1, 1]


def test_n_can_be_switched_off(endpoint: FakeEndpoint) -> None:
    ask(endpoint, *(prompt(sample=i) for i in range(3)), n=False)
    assert [body.get("n", 1) for body in endpoint.bodies] == [1, 1, 1]


def test_logprobs_are_left_out_where_they_are_not_offered(endpoint: FakeEndpoint) -> None:
    def script(body: dict[str, Any], _number: int) -> Answer:
        return refusal(400, "logprobs are not supported by this model") if "logprobs" in body else completion(body)

    endpoint.script = script
    (answer,) = ask(endpoint, prompt(answer=AnswerSchema(("good", "bad"), logprobs=True)))
    assert (answer.text, answer.choice_logprobs) == ("good", None)


def test_an_endpoint_that_limits_its_clients_is_not_asked_more_than_it_takes(endpoint: FakeEndpoint) -> None:
    room = 4

    def script(body: dict[str, Any], _number: int) -> Answer:
        made = completion(body) if endpoint._now <= room else refusal(429, "too many")
        made.delay_s = 0.02
        return made

    endpoint.script = script
    answers = ask(endpoint, *(prompt(str(i)) for i in range(100)), max_retries=20)
    assert all(answer.error_kind is None for answer in answers)
    assert endpoint.most_at_once <= 16, "100 prompts are in flight, the endpoint takes 4"
    assert len(endpoint.bodies) < 200, "more requests were refused than answered"


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"models": refusal(401, "bad key sk-12")}, EngineError, "does not accept .* OPENAI_API_KEY .* -> export"),
        ({"script": lambda *_: refusal(404, "no")}, ConfigError, "does not serve other -> set engine.model"),
    ],
)
def test_what_cannot_work_is_said_at_the_start(
    endpoint: FakeEndpoint, change: dict[str, Any], error: type[Exception], said: str
) -> None:
    for name, value in change.items():
        setattr(endpoint, name, value)
    with pytest.raises(error, match=said) as raised:
        ask(endpoint, prompt(), model="other")
    assert "sk-12" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "engine.openai.base_url is missing"),
        ({"base_url": "127.0.0.1:8000"}, "must begin with http"),
        ({"base_url": "https://me:s3cret@host/v1"}, "no user, password"),
        ({"base_url": "http://h/v1", "api_key": "s3cret"}, "unknown config key engine.openai.api_key"),
    ],
)
def test_wrong_options_are_said_at_the_start(options: dict[str, Any], said: str) -> None:
    backend = OpenAIBackend(BackendSettings("m", Device("cpu", 0, "test"), "worker-0", options))
    with pytest.raises(ConfigError, match=said):
        asyncio.run(backend.start())


def test_an_endpoint_that_is_gone_is_a_dead_engine_not_a_row_of_errors(endpoint: FakeEndpoint) -> None:
    with pytest.raises(EngineError, match="does not answer"):
        ask(FakeEndpoint(endpoint.script, url="http://127.0.0.1:9/v1"), prompt())
    endpoint.script = lambda *_: refusal(403, "revoked key sk-12")
    with pytest.raises(EngineDeadError, match="refuses all requests") as raised:
        ask(endpoint, prompt())
    assert "sk-12" not in str(raised.value)
