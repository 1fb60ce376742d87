"""Completion -> vote: a label, or the reason why there is none. Never a guess."""

import json
import math
import re
from typing import NamedTuple

from core.records import Completion, Vote

_FENCE = re.compile(r"\A```(?:json)?\s*\n(.*)\n```\Z", re.DOTALL)


class Parsed(NamedTuple):
    """What an answer says: `label`, or `unparsable` with why not; and the reason it states, if any."""

    label: str | None
    unparsable: str | None = None
    stated_reason: str | None = None


def to_vote(completion: Completion, labels: list[str]) -> Vote:
    """The vote in a completion; an error row becomes a vote without a label."""
    if completion.error_kind is not None or completion.text is None:
        return Vote(*completion.key, label=None, unparsable=f"error: {completion.error_kind}")
    parsed = parse(completion.text, labels, truncated=completion.finish_reason == "length")
    distribution = None
    if completion.choice_logprobs is not None and parsed.label is not None:
        shares = [math.exp(logprob) for logprob in completion.choice_logprobs]
        distribution = tuple(share / sum(shares) for share in shares)
    confidence = distribution[labels.index(parsed.label)] if distribution and parsed.label else None
    return Vote(*completion.key, parsed.label, parsed.unparsable, confidence, distribution, parsed.stated_reason)


def parse(text: str, labels: list[str], *, truncated: bool = False) -> Parsed:
    """Reads an answer: a JSON object with a label, or one label word alone; anything else has no label.

    Case and surrounding spaces, quotes and a full stop do not matter; other words do.
    """
    answer = text.strip()
    if fenced := _FENCE.match(answer):
        answer = fenced.group(1).strip()
    if not answer:
        return Parsed(None, "empty")
    if answer.startswith("{"):
        return _from_json(answer, labels, truncated)
    if label := _exact(answer.strip("\"'").removesuffix("."), labels):
        return Parsed(label)
    return Parsed(None, "truncated" if truncated else "no label alone")


def _from_json(answer: str, labels: list[str], truncated: bool) -> Parsed:
    try:
        values = json.loads(answer, object_pairs_hook=_no_key_twice)
    except ValueError:
        return Parsed(None, "truncated" if truncated else "malformed json")
    except RecursionError:
        return Parsed(None, "malformed json")
    reason = values.get("reason")
    stated = reason if isinstance(reason, str) and reason.strip() else None
    named = values.get("label")
    if not isinstance(named, str):
        return Parsed(None, "json without label", stated)
    label = _exact(named, labels)
    return Parsed(label, None if label else "unknown label", stated)


def _no_key_twice(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """JSON lets the last of two equal keys win; two labels are no label."""
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key is there twice")
    return values


def _exact(word: str, labels: list[str]) -> str | None:
    folded = word.strip().casefold()
    return next((label for label in labels if label.strip().casefold() == folded), None)
