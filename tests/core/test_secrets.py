"""Secrets are struck out of what is printed, logged and recorded, whoever says them."""

import io
import json
import logging
import sys
import traceback
from pathlib import Path

import pytest

from xpoll.core import secrets
from xpoll.core.errors import EngineError
from xpoll.core.secrets import (
    StruckFormatter,
    StruckStream,
    hide,
    hide_named,
    learn_secrets,
    struck,
    struck_bytes,
    without_secrets,
)
from xpoll.engine.backends.backend import EngineDeadError

KEY, HUB, RAY = "planted-api-key/+1", "planted-hub-token-2", "planted-ray-token-3"


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    token = tmp_path / "ray-token"
    token.write_text(f"{RAY}\n")
    monkeypatch.setattr(secrets, "_known", None)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("HF_TOKEN", HUB)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))


@pytest.mark.parametrize("secret", [KEY, HUB, RAY])
@pytest.mark.parametrize("form", ["{}", "Bearer {}", '{{"Authorization": "Bearer {}"}}', "x{}y"])
def test_a_secret_is_struck_out_wherever_it_stands(secret: str, form: str) -> None:
    assert secret not in struck(form.format(secret))
    assert secret not in without_secrets(form.format(secret))
    assert secret.encode() not in struck_bytes(f"{form.format(secret)}\n".encode() + b"\xff")


def test_also_as_urls_json_and_basic_authorization_write_it() -> None:
    for written in ("planted-api-key%2F%2B1", json.dumps(KEY), "cGxhbnRlZC1hcGkta2V5LysxIA"[:24]):
        assert written not in struck(f"GET /?k={written} HTTP/1.1")


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("Authorization: Bearer abcdefgh12345678", "Authorization: Bearer ***"),
        ("{'authorization': 'Basic dXNlcjpwYXNz'}", "{'authorization': 'Basic ***'}"),
        ("X-Api-Key: 0123456789", "X-Api-Key: ***"),
        ("wrong key sk-proj-0123456789abcdef.", "wrong key ***."),
        ("hf_0123456789abcdefghijABCD expired", "*** expired"),
        ("http://me:pass@host/v1 refused", "http://***@host/v1 refused"),
    ],
)
def test_what_looks_like_a_secret_is_struck_out_of_messages(said: str, left: str) -> None:
    assert struck(said) == left


@pytest.mark.parametrize(
    "said",
    [
        "a bearer of bad news, basic training, a token of thanks",
        "export OPENAI_API_KEY=...",
        "set engine.openai.api_key_env to the variable's name",
        "http://127.0.0.1:8000/v1 does not answer",
    ],
)
def test_other_words_stay(said: str) -> None:
    assert struck(said) == said


def test_a_short_value_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "good")
    learn_secrets()
    hide("bad")
    hide(None)
    assert without_secrets("good and bad") == "good and bad"


def test_a_plain_word_is_no_secret_unless_the_variable_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SORT_KEY", "positive")
    monkeypatch.setenv("HF_TOKEN", "plainword")
    learn_secrets()
    assert without_secrets("positive") == "positive", "a label of a job"
    assert without_secrets("plainword") == "***"


def test_the_variable_that_an_option_names_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVIDER", "provider-4-secret")
    hide_named({"api_key_env": "PROVIDER", "base_url": "http://h/v1", "n_env": 3})
    assert struck("it said provider-4-secret") == "it said ***"


def test_no_stream_log_traceback_or_error_shows_one() -> None:
    said = io.StringIO()
    stream = StruckStream(said)
    print("key", KEY, file=stream)  # type: ignore[call-overload]
    stream.writelines([f"{HUB}\n", f"{RAY}\n"])
    handler = logging.StreamHandler(said)
    handler.setFormatter(StruckFormatter("%(message)s"))
    try:
        raise ValueError(f"headers: {{'Authorization': 'Bearer {KEY}'}}")
    except ValueError as error:
        traceback.print_exception(error, file=stream)  # type: ignore[call-overload]
        record = logging.LogRecord("x", logging.ERROR, __file__, 1, "%s", (HUB,), sys.exc_info())
        handler.emit(record)
    said.write(str(EngineError(f"it says {RAY}", mend="look")))
    said.write(str(EngineDeadError(f"it died of {RAY}")))
    written = said.getvalue()
    assert "headers" in written
    assert "Traceback" in written
    assert not [secret for secret in (KEY, HUB, RAY) if secret in written]
