"""Strikes secrets out of what is printed, logged and recorded: every such text passes `struck` or `without_secrets`.

Known are the values of environment variables whose names end as those of keys and tokens do, the token files of the
Hugging Face hub and of Ray, and what was given to `hide`. A message also loses what looks like one.
"""

import base64
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from logging import Formatter, LogRecord
from pathlib import Path
from typing import Any
from urllib.parse import quote

STRUCK = "***"
SHORTEST = 6
"""Characters of the shortest value that counts as a secret; a shorter one would strike words."""
_NAMES = frozenset(
    (
        "OPENAI_API_KEY",
        "HF_TOKEN",
        "HUGGING_FACE_HUB_TOKEN",
        "HUGGINGFACEHUB_API_TOKEN",
        "RAY_AUTH_TOKEN",
        "VLLM_API_KEY",
    )
)
"""Variables that hold a secret whatever it looks like."""
_PLAIN_WORD = 16
"""Of other variables a value without a digit is a secret from so many characters on: a label must not be one."""
_ENDINGS = ("_KEY", "_TOKEN", "_SECRET", "_PASSWORD", "_CREDENTIALS")
_FILES = (
    ("HF_TOKEN_PATH", "HF_HOME", "token", ".cache/huggingface/token"),
    ("RAY_AUTH_TOKEN_PATH", "", "", ".ray/auth_token"),
)
"""Variable of a token file, variable of its folder and name in it, and its place in the home folder."""
_FORMS = (
    (
        re.compile(r"(authorization[\"']?\s*[:=]\s*[\"']?(?:(?:bearer|basic|token)\s+)?)[^\s\"',;]+", re.I),
        r"\1" + STRUCK,
    ),
    (re.compile(r"(\bbearer\s+)[\w.~+/=-]{6,}", re.I), r"\1" + STRUCK),
    (re.compile(r"(\b(?:x-)?api[-_]key[\"']?\s*[:=]\s*[\"']?)[^\s\"',;]+", re.I), r"\1" + STRUCK),
    (re.compile(r"\b(?:sk-[\w-]{12,}|hf_\w{20,})"), STRUCK),
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/\s:@]+:[^/\s@]+@", re.I), r"\1" + STRUCK + "@"),
)
_known: tuple[str, ...] | None = None


def learn_secrets() -> None:
    """Reads the secrets of this process's surroundings; those given to `hide` stay known."""
    global _known
    found = {form for value in _surrounding() for form in _forms_of(value)}
    _known = _longest_first({*found, *(_known or ())})


def hide(secret: str | None) -> None:
    """Makes a value known as a secret; None and values of fewer than `SHORTEST` characters are not."""
    global _known
    if _known is None:
        learn_secrets()
    _known = _longest_first({*(_known or ()), *_forms_of(secret or "")})


def hide_named(options: dict[str, Any]) -> None:
    """Makes known the values of the variables that options name, which are those that end in _env."""
    for name, variable in options.items():
        if name.endswith("_env") and isinstance(variable, str):
            hide(os.environ.get(variable))


def known_secrets() -> tuple[str, ...]:
    """Every known secret in each of its forms, longest first."""
    if _known is None:
        learn_secrets()
    return _known or ()


def without_secrets(text: str) -> str:
    """The text with every known secret struck out; for answers and results, whose other words must stay."""
    for secret in _known if _known is not None else known_secrets():
        if secret in text:
            text = text.replace(secret, STRUCK)
    return text


def struck(text: str) -> str:
    """A message with every known secret struck out, and with what looks like a key, token or password."""
    text = without_secrets(text)
    for form, instead in _FORMS:
        text = form.sub(instead, text)
    return text


def struck_bytes(line: bytes) -> bytes:
    """As `struck`, of a line that another process printed."""
    return struck(line.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


class StruckStream:
    """A text stream through which no secret passes.

    Args:
        stream: Where the text goes.
        strike: What takes the secrets out.
    """

    def __init__(self, stream: Any, strike: Callable[[str], str] = struck) -> None:
        """Takes the stream, which stays open."""
        self._stream, self._strike = stream, strike

    def write(self, text: str) -> int:
        """Writes the text without secrets; returns how many characters it had."""
        self._stream.write(self._strike(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Writes each line without secrets."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        """Everything else is the stream's."""
        return getattr(self._stream, name)


class StruckFormatter(Formatter):
    """Formats log records, tracebacks included, without secrets."""

    def format(self, record: LogRecord) -> str:
        """The line, or lines, of a record."""
        return struck(super().format(record))


def strike_streams() -> None:
    """From now on this process prints no secret, whoever prints: also tracebacks and libraries."""
    learn_secrets()
    if not isinstance(sys.stdout, StruckStream):
        sys.stdout = StruckStream(sys.stdout, without_secrets)  # type: ignore[assignment]  # results, maybe JSON
    if not isinstance(sys.stderr, StruckStream):
        sys.stderr = StruckStream(sys.stderr)  # type: ignore[assignment]


def _surrounding() -> Iterator[str]:
    for name, value in os.environ.items():
        looks_like_one = len(value) >= _PLAIN_WORD or any(character.isdigit() for character in value)
        if name in _NAMES or (name.upper().endswith(_ENDINGS) and looks_like_one):
            yield value
    for variable, folder_variable, name, place in _FILES:
        with suppress(OSError, RuntimeError, UnicodeError):
            folder = os.environ.get(folder_variable)
            at_home = Path(folder) / name if folder else Path.home() / place
            yield Path(os.environ.get(variable) or at_home).read_text(encoding="utf-8")


def _forms_of(value: str) -> set[str]:
    """The value as it is, and as URLs, JSON and Basic authorization write it."""
    whole, bare = value, value.strip()
    if len(bare) < SHORTEST:
        return set()
    encoded = base64.b64encode(bare.encode("utf-8", "surrogateescape")).decode()
    quoted = quote(bare, safe="", errors="surrogateescape")
    return {bare, quoted, json.dumps(bare)[1:-1], repr(bare)[1:-1], repr(whole)[1:-1], encoded}


def _longest_first(secrets: set[str]) -> tuple[str, ...]:
    return tuple(sorted(secrets, key=lambda secret: (-len(secret), secret)))
