"""Answers to texts: what models put around a text is taken off, nothing else is changed."""

import json
import re
from typing import Any

from xpoll.core.records import Completion
from xpoll.synthesis.template import Template

_THOUGHT = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
_FENCED = re.compile(r"\A```[\w-]*\n(.*?)\n?```\Z", re.DOTALL)
_PREAMBLE = re.compile(
    r"\A(?:sure|certainly|of course|absolutely|here(?:'s|\u2019s| is| are)|okay|ok)\b[^\n]{0,160}:\s*\n+", re.IGNORECASE
)
_QUOTES = {'"': '"', "\u201c": "\u201d", "'": "'", "\u2018": "\u2019"}


def read_text(completion: Completion, template: Template) -> tuple[str, str | None]:
    """The text of an answer, and what is wrong with it.

    Returns:
        The text, empty where there is none, and the problem, None where there is none.
    """
    if completion.text is None:
        return "", f"engine: {completion.error_kind}: {completion.error}"
    answer = _THOUGHT.sub("", completion.text).strip()
    if template.header.json_schema is None:
        return _bare(answer), None
    try:
        value = json.loads(_unfenced(answer))
    except (ValueError, RecursionError) as error:
        cut = completion.finish_reason == "length"
        return answer, "complete: cut off before its end" if cut else f"form: no JSON: {error}"
    return _of_json(value, template, answer)


def _of_json(value: Any, template: Template, answer: str) -> tuple[str, str | None]:
    required = (template.header.json_schema or {}).get("required", [])
    if not isinstance(value, dict) or (missing := [name for name in required if name not in value]):
        what = "no JSON object" if not isinstance(value, dict) else f"no property {missing[0]!r}"
        return answer, f"form: {what}"
    if (name := template.header.text_property) is None:
        return json.dumps(value, ensure_ascii=False), None
    text = value.get(name)
    return (text.strip(), None) if isinstance(text, str) else ("", f"form: {name} is no text")


def _unfenced(text: str) -> str:
    found = _FENCED.match(text)
    return found[1].strip() if found else text


def _bare(answer: str) -> str:
    text = _unfenced(_PREAMBLE.sub("", answer, count=1).strip())
    closing = _QUOTES.get(text[:1])
    if closing and len(text) > 2 and text.endswith(closing) and closing not in text[1:-1]:
        text = text[1:-1].strip()
    return text
