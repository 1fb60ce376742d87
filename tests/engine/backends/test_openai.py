"""The openai backend against an endpoint that limits, fails, lags and refuses."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.fake_endpoint import Answer, FakeEndpoint, Script, completion, refusal, serving
from xpoll.core.errors import ConfigError, EngineError, UnavailableError
from xpoll.core.records import COMPLETION_SCHEMA, AnswerSchema, Completion, Prompt, Sampling, to_table
from xpoll.engine.answer import answer_of
from xpoll.engine.backends.backend import BackendSettings
from xpoll.engine.backends.openai.address import is_this_machine
from xpoll.engine.backends.openai.backend import OpenAIBackend
from xpoll.engine.backends.openai.endpoint import HELLO
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
            return await asyncio.gather(*(answer_of(backend, prompt) for prompt in prompts))
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


def is_hello(body: dict[str, Any]) -> bool:
    """Whether a request holds no text of the job."""
    return bool(body["messages"] == HELLO)


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
        (refusal(500, "oops"), "server", 3),
        (Answer(delay_s=1.5), "timeout", 3),
        (refusal(400, "the text is not allowed"), "refused", 1),
        (refusal(403, "the input was flagged"), "refused", 1),
        (refusal(400, "This model's maximum context length is 512 tokens."), "context_length", 1),
        (refusal(422, "no such field"), "refused", 1),
    ],
)
def test_what_does_not_pass_for_one_text_is_an_error_row(
    endpoint: FakeEndpoint, always: Answer, kind: str, asked: int
) -> None:
    endpoint.script = lambda body, _: completion(body) if is_hello(body) else always
    (answer,) = ask(endpoint, prompt(), max_retries=2, request_timeout_s=0.2)
    assert (answer.error_kind, answer.text) == (kind, None)
    assert answer.error
    assert len([body for body in endpoint.bodies if not is_hello(body)]) == asked
    assert len(endpoint.bodies) <= asked + 2


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
    numbers = [body.get("n", 1) for body in endpoint.bodies]
    assert numbers == ([3, 3, 1, 1, 1] if said else [3, 1, 1]), "the second one shows that no text is what is refused"


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


def test_an_endpoint_that_is_away_is_waited_for(endpoint: FakeEndpoint) -> None:
    endpoint.models = refusal(503, "starting")
    answers = ask(endpoint, prompt(), longest_wait_s=0.2)
    assert answers[0].text == "good", "a list of models that never comes is no reason to stop"
    with pytest.raises(UnavailableError, match=r"does not answer: .* -> start it, or set engine.openai.base_url"):
        ask(FakeEndpoint(endpoint.script, url="http://127.0.0.1:9/v1"), prompt(), longest_wait_s=0.2)
    assert UnavailableError.exit_code == 75


@pytest.mark.parametrize(
    ("always", "error", "said", "asked"),
    [
        (refusal(402, "Insufficient Balance"), UnavailableError, "wants payment .* add credit", 1),
        (
            Answer(429, {"error": {"message": "no", "code": "insufficient_quota"}}),
            UnavailableError,
            "wants payment .* add credit",
            1,
        ),
        (
            refusal(429, "tomorrow", **{"Retry-After": "40000"}),
            UnavailableError,
            "asks to wait 40000 s .*: tomorrow -> later, the same command resumes",
            1,
        ),
        (refusal(429, "Daily quota reached"), UnavailableError, "answers no request any more .*Daily quota", 4),
        (refusal(500, "oops"), UnavailableError, "answers no request any more", 4),
        (Answer(301, "", headers={"Location": "http://other/v1"}), EngineError, "redirects to http://other/v1", 1),
        (Answer(307, "", headers={"Location": "/v2"}), EngineError, "redirects to /v2 .* no text follows", 1),
        (refusal(401, "revoked key sk-12"), EngineError, "does not accept", 2),
        (refusal(404, "gone"), EngineError, "refuses all requests .*gone", 2),
    ],
    ids=["402", "quota", "a day", "429", "500", "301", "307", "401", "404"],
)
def test_what_an_endpoint_says_of_itself_ends_the_run_and_no_row(
    endpoint: FakeEndpoint, always: Answer, error: type[Exception], said: str, asked: int
) -> None:
    endpoint.script = lambda *_: always
    with pytest.raises(error, match=said) as raised:
        ask(endpoint, prompt(), max_retries=2)
    assert type(raised.value) is error
    assert "sk-12" not in str(raised.value)
    assert len(endpoint.bodies) == asked


def test_the_words_of_a_text_that_an_endpoint_quotes_change_nothing(endpoint: FakeEndpoint) -> None:
    """Before, one text with the word "logprobs" took the others their logprobs, and "insufficient_quota" the run."""

    def script(body: dict[str, Any], _number: int) -> Answer:
        text = body["messages"][0]["content"]
        return refusal(400, f"not allowed: {text}") if text in quoted else completion(body)

    quoted = {"Text: logprobs", "Text: insufficient_quota", "Text: temperature", "Text: max_completion_tokens"}
    endpoint.script = script
    answer = AnswerSchema(("good", "bad"), logprobs=True)
    ids = [text.removeprefix("Text: ") for text in sorted(quoted)]
    answers = ask(endpoint, *(prompt(each, answer=answer) for each in [*ids, "1", "2"]))
    assert [each.error_kind for each in answers] == ["refused"] * 4 + [None] * 2
    assert all("logprobs" in body and "max_tokens" in body for body in endpoint.bodies)
    assert sum(map(is_hello, endpoint.bodies)) == 1, "asked once for all"


def test_a_refused_temperature_is_a_row_that_names_the_key(endpoint: FakeEndpoint) -> None:
    only_one = refusal(
        400, "'temperature' does not support 0.8 with this model. Only the default (1) value is supported."
    )
    endpoint.script = lambda body, _: only_one if body.get("temperature", 1) != 1 else completion(body)
    answers = ask(endpoint, prompt("1"), prompt("2"))
    assert [answer.error_kind for answer in answers] == ["parameter"] * 2
    assert str(answers[0].error).startswith("panel.temperature: the endpoint refuses it for every text: 'temperature'")
    assert sum(map(is_hello, endpoint.bodies)) == 1


def test_a_temperature_of_one_is_left_out_where_it_is_refused(endpoint: FakeEndpoint) -> None:
    endpoint.script = lambda body, _: refusal(400, "no temperature") if "temperature" in body else completion(body)
    (answer,) = ask(endpoint, prompt()._replace(sampling=Sampling(1.0, 1.0, 16)))
    assert answer.text == "good"
    assert all("top_p" not in body for body in endpoint.bodies), "1 is not sent"


def choice(**said: Any) -> Answer:
    message = {"role": "assistant", "content": said.pop("content", "good"), **said.pop("message", {})}
    usage = said.pop("usage", {"prompt_tokens": 10, "completion_tokens": 1})
    return Answer(body={"choices": [{"index": 0, "message": message, "finish_reason": "stop", **said}], "usage": usage})


@pytest.mark.parametrize(
    ("always", "kind", "said", "asked"),
    [
        (choice(finish_reason=1), "malformed", "finish_reason is int 1", 1),
        (choice(content={"text": "good"}), "malformed", "content is dict", 1),
        (choice(content=5), "malformed", "content is int", 1),
        (choice(content=None, message={"reasoning_content": "Well."}), "no_text", "thought and gave no answer", 1),
        (choice(content=None, message={"refusal": "I will not."}), "refused", "I will not", 1),
        (choice(content=None, finish_reason="content_filter"), "content_filter", "withheld", 1),
        (choice(content="", finish_reason="error", error={"message": "worker lost"}), "server", "worker lost", 3),
        (Answer(raw='data: {"choices": []}\n\ndata: [DONE]'), "malformed", "streams its answer", 1),
        (Answer(body={"error": {"message": "no room", "code": 429}}), "rate_limited", "no room", 3),
        (Answer(body={"error": {"message": "bad text", "code": 400}}), "refused", "bad text", 1),
        (Answer(raw="[" * 100_000), "server", "not a chat completion", 3),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_an_answer_of_another_form_is_that_row_s_error(
    endpoint: FakeEndpoint, always: Answer, kind: str, said: str, asked: int
) -> None:
    endpoint.script = lambda body, _: always if body["messages"][0]["content"] == "Text: bad" else completion(body)
    answers = ask(endpoint, prompt("bad"), prompt("1"), prompt("2"), max_retries=2)
    assert [answer.error_kind for answer in answers] == [kind, None, None]
    assert said in str(answers[0].error)
    assert [body["messages"][0]["content"] for body in endpoint.bodies].count("Text: bad") == asked
    to_table(answers, COMPLETION_SCHEMA)


@pytest.mark.parametrize(
    ("always", "text"),
    [
        (choice(content=[{"type": "thinking", "thinking": []}, {"type": "text", "text": "good"}]), "good"),
        (choice(content="a\ud83d"), "a\ufffd"),
        (choice(usage={"prompt_tokens": 3_000_000_000, "completion_tokens": -1}), "good"),
        (choice(content=None, finish_reason="length", message={"reasoning": "Well,"}), ""),
    ],
    ids=["parts", "half a surrogate pair", "counts", "cut off while it thinks"],
)
def test_an_answer_is_made_to_fit_where_it_can_be(endpoint: FakeEndpoint, always: Answer, text: str) -> None:
    endpoint.script = lambda *_: always
    (answer,) = ask(endpoint, prompt())
    assert (answer.text, answer.error_kind) == (text, None)
    to_table([answer], COMPLETION_SCHEMA)


@pytest.mark.parametrize("around", ["\n", "\r\n", "  "])
def test_space_around_a_key_is_not_sent(endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch, around: str) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", f"sk-test-0123456789{around}")
    ask(endpoint, prompt())
    assert endpoint.headers[0]["Authorization"] == "Bearer sk-test-0123456789"


def test_a_key_with_a_line_break_is_one_line_at_the_start(
    endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test\n0123456789")
    with pytest.raises(ConfigError, match=r"^OPENAI_API_KEY holds .* a line break -> export") as raised:
        ask(endpoint, prompt())
    assert "0123456789" not in str(raised.value)


def test_loopback_is_asked_without_a_proxy(endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert ask(endpoint, prompt())[0].text == "good"
    by_name = endpoint.url.replace("127.0.0.1", "localhost")
    assert ask(FakeEndpoint(endpoint.script, url=by_name), prompt())[0].text == "good"
    remote = FakeEndpoint(endpoint.script, url="http://example.invalid/v1")
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:9"):  # the proxy is what does not answer
        ask(remote, prompt(), longest_wait_s=0.1)


@pytest.mark.parametrize("url", ["http://localhost:1", "http://a.localhost", "http://[::1]:1", "http://0.0.0.0:1"])
def test_this_machine_is_known_by_each_of_its_names(url: str) -> None:
    assert is_this_machine(url)
    assert not is_this_machine("http://localhost.example.com")


def test_an_address_is_mended_where_it_can_be_known(endpoint: FakeEndpoint) -> None:
    whole = FakeEndpoint(endpoint.script, url=f"{endpoint.url}/chat/completions")
    assert ask(whole, prompt())[0].text == "good"
    without = FakeEndpoint(endpoint.script, url=endpoint.url.removesuffix("/v1"))
    with pytest.raises(EngineError, match=r"nothing is at .*/models .* -> set engine.openai.base_url = http.*/v1$"):
        ask(without, prompt())


@pytest.mark.parametrize(
    ("answer", "options", "said"),
    [
        (AnswerSchema(("a", "b"), must_hold=True), {}, "to choices"),
        (AnswerSchema(json_schema="{}", must_hold=True), {"structured_outputs": "none"}, "to a JSON schema"),
        (AnswerSchema(must_hold=True), {}, "to structured_outputs"),
    ],
)
def test_what_an_answer_cannot_be_held_to_is_that_row_s_error(
    endpoint: FakeEndpoint, answer: AnswerSchema, options: dict[str, Any], said: str
) -> None:
    (row,) = ask(endpoint, prompt(answer=answer), **options)
    assert (row.error_kind, said in str(row.error)) == ("refused", True)
    assert not endpoint.bodies
    assert ask(endpoint, prompt(answer=answer), structured_outputs="vllm")[0].text == "good"
