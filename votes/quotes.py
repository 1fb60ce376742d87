"""Completion -> vote of a spans task: exact quotes with their labels, or the reason why there are none."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from xpoll.core.records import Completion
from xpoll.core.sameness import word_of
from xpoll.core.span_records import SpanVote
from xpoll.votes.parse import encodable, label_alone, no_key_twice, unwrapped

MOST_QUOTES = 1000
"""In one answer; one that names more is out of hand and is not read."""


class ParsedQuotes(NamedTuple):
    """What an answer says: `quotes`, or `unparsable` with why not; and the reason it states."""

    quotes: tuple[dict[str, str], ...] | None
    unparsable: str | None = None
    stated_reason: str | None = None


def to_span_vote(completion: Completion, labels: list[str]) -> SpanVote:
    """The vote in a completion of a spans task; an error row becomes a vote without quotes."""
    if completion.error_kind is not None or completion.text is None:
        return SpanVote(*completion.key, quotes=None, unparsable=f"error: {completion.error_kind}")
    return SpanVote(
        *completion.key, *parse_quotes(completion.text, labels, truncated=completion.finish_reason == "length")
    )


def parse_quotes(text: str, labels: Sequence[str], *, truncated: bool = False) -> ParsedQuotes:
    """What an answer to a spans task says: a JSON list of {"text", "label"}, or a JSON object with one under "spans".

    A list that is no such list, an unknown label, and anything around it that `votes.parse` does not take off make the
    whole answer unreadable. Whether the text holds a quote is looked at when votes are counted.
    """
    answer = unwrapped(text, labels)
    if not answer:
        return ParsedQuotes(None, "truncated" if truncated else "empty")
    try:
        value = json.loads(answer, object_pairs_hook=no_key_twice)
    except (ValueError, RecursionError):
        return ParsedQuotes(None, "truncated" if truncated else "malformed json")
    stated = None
    if isinstance(value, dict):
        reason = value.get("reason")
        stated = encodable(reason) if isinstance(reason, str) and reason.strip() else None
        named = [inner for key, inner in value.items() if key.strip().casefold() == "spans"]
        value = named[0] if len(named) == 1 else None
    if not isinstance(value, list):
        return ParsedQuotes(None, "no list of spans", stated)
    if len(value) > MOST_QUOTES:
        return ParsedQuotes(None, f"more than {MOST_QUOTES} spans", stated)
    quotes = []
    for each in value:
        quote, label = _quote_in(each, labels)
        if quote is None:
            return ParsedQuotes(None, "no list of spans", stated)
        if label is None:
            return ParsedQuotes(None, "unknown label", stated)
        quotes.append({"text": encodable(quote), "label": label})
    return ParsedQuotes(tuple(quotes), None, stated)


def _quote_in(value: Any, labels: Sequence[str]) -> tuple[str | None, str | None]:
    if not isinstance(value, dict) or set(value) != {"text", "label"} or not isinstance(value["text"], str):
        return None, None
    word = word_of(value["label"])
    return value["text"], label_alone(word, labels) if word is not None else None
