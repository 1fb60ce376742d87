"""Completion -> vote: a label, or the reason why there is none. A label is never guessed."""

import json
import math
from collections.abc import Sequence
from typing import NamedTuple

from xpoll.core.records import Completion, SetVote, Vote
from xpoll.core.sameness import folded, same_label, word_of

_FENCE = "```"
_FENCE_TAGS = ("", "json", "text", "txt", "plaintext")
_THOUGHT, _THOUGHT_ENDS = "<think>", "</think>"
_INVISIBLE = "\ufeff\u200b\u2060"
_STOPS = ".\u3002"
_OPENING = "\"'`*_\u2018\u201c\u201d\u201e\u201a\u00ab\u00bb\u300c"
_CLOSING = "\"'`*_\u2019\u201d\u201d\u201c\u2018\u00bb\u00ab\u300d"
_PAIRS = set(zip(_OPENING, _CLOSING, strict=True))
_MOST_PAIRS = 8  # an answer of a hundred thousand quotes is not peeled to its end


class Parsed(NamedTuple):
    """What an answer says: `label`, or `unparsable` with why not; and the reason it states, if any."""

    label: str | None
    unparsable: str | None = None
    stated_reason: str | None = None


class ParsedSet(NamedTuple):
    """What an answer to a multi task says: `labels`, or `unparsable` with why not; and the reason it states."""

    labels: tuple[str, ...] | None
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


def label_of(completion: Completion, labels: list[str]) -> str | None:
    """The label of the vote in a completion, if it has one."""
    if completion.error_kind is not None or completion.text is None:
        return None
    return parse(completion.text, labels, truncated=completion.finish_reason == "length").label


def parse(text: str, labels: list[str], *, truncated: bool = False) -> Parsed:
    """What an answer says: a JSON object with a label, or one label alone; anything else has no label.

    Around a label, spaces, pairs of quotes or emphasis marks and a full stop do not matter, nor does
    case. Around the answer, a code fence does not matter, nor does a thought before it: between think tags,
    or with its end alone where the model's template began it. Other words do, and so does a second label.
    The order of the labels plays no part.
    """
    answer = unwrapped(text, labels)
    if not answer:
        return Parsed(None, "truncated" if truncated else "empty")
    if answer.startswith("{"):
        return _from_json(answer, labels, truncated)
    label = label_alone(answer, labels)
    if truncated and (label is None or _may_go_on(label, labels)):
        return Parsed(None, "truncated")
    return Parsed(label, None if label else "no label alone")


def to_set_vote(completion: Completion, labels: list[str]) -> SetVote:
    """The vote in a completion of a multi task, with its probabilities where each label was read by itself.

    An error row becomes a vote without labels, and so does an answer that has not one probability for each label.
    """
    if completion.error_kind is not None or completion.text is None:
        return SetVote(*completion.key, labels=None, unparsable=f"error: {completion.error_kind}")
    parsed = parse_set(completion.text, labels, truncated=completion.finish_reason == "length")
    if completion.choice_logprobs is None or parsed.labels is None:
        return SetVote(*completion.key, *parsed)
    probabilities = tuple(map(math.exp, completion.choice_logprobs))
    if len(probabilities) != len(labels) or not all(0 <= each <= 1 + 1e-6 for each in probabilities):
        return SetVote(*completion.key, labels=None, unparsable="not one probability per label")
    return SetVote(*completion.key, *parsed, probabilities=tuple(min(each, 1.0) for each in probabilities))


def parse_set(text: str, labels: list[str], *, truncated: bool = False) -> ParsedSet:
    """What an answer to a multi task says: a JSON list of labels, or a JSON object with one under the key "labels".

    The labels come out in the task's order. A word that is no label, a label twice, and anything around
    the list that `parse` does not take off make the whole answer unreadable: half a set is another set.
    """
    answer = unwrapped(text, labels)
    if not answer:
        return ParsedSet(None, "truncated" if truncated else "empty")
    try:
        value = json.loads(answer, object_pairs_hook=no_key_twice)
    except (ValueError, RecursionError):
        return ParsedSet(None, "truncated" if truncated else "malformed json")
    stated = None
    if isinstance(value, dict):
        reason = value.get("reason")
        stated = encodable(reason) if isinstance(reason, str) and reason.strip() else None
        named = [inner for key, inner in value.items() if key.strip().casefold() == "labels"]
        value = named[0] if len(named) == 1 else None
    if not isinstance(value, list):
        return ParsedSet(None, "no list of labels", stated)
    words = [word_of(each) for each in value]
    found = [label_alone(word, labels) if word is not None else None for word in words]
    if None in found:
        return ParsedSet(None, "unknown label", stated)
    if len(set(found)) != len(found):
        return ParsedSet(None, "a label twice", stated)
    return ParsedSet(tuple(label for label in labels if label in found), None, stated)


def unwrapped(text: str, labels: Sequence[str]) -> str:
    """An answer without what does not matter around it: spaces, a code fence, a thought before it."""
    answer = text.strip().strip(_INVISIBLE).strip()
    if answer.startswith(_THOUGHT):
        answer = answer.partition(_THOUGHT_ENDS)[2].strip()
    elif _THOUGHT_ENDS in answer and _THOUGHT not in answer and not answer.startswith("{"):
        # The model's template began the thought, in the prompt; a label that holds the tag is a label all the same.
        answer = answer if label_alone(answer, labels) else answer.rpartition(_THOUGHT_ENDS)[2].strip()
    if answer.startswith(_FENCE) and answer.endswith(f"\n{_FENCE}"):
        tag, _, inside = answer.removeprefix(_FENCE).removesuffix(_FENCE).partition("\n")
        if tag.strip().casefold() in _FENCE_TAGS:
            answer = inside.strip()
    return answer


def _from_json(answer: str, labels: list[str], truncated: bool) -> Parsed:
    try:
        values = json.loads(answer, object_pairs_hook=no_key_twice)
    except ValueError:
        return Parsed(None, "truncated" if truncated else "malformed json")
    except RecursionError:
        return Parsed(None, "malformed json")
    reason = values.get("reason")
    stated = encodable(reason) if isinstance(reason, str) and reason.strip() else None
    named = [word_of(value) for key, value in values.items() if key.strip().casefold() == "label"]
    if not named or None in named:
        return Parsed(None, "json without label", stated)
    found = {label_alone(word, labels) for word in named if word is not None}
    if None in found:
        return Parsed(None, "unknown label", stated)
    extra = (value for key, value in values.items() if key.strip().casefold() not in ("label", "reason"))
    words = (word for value in extra for word in (value if isinstance(value, list) else [value]))
    found |= {label for word in words if isinstance(word, str) and (label := label_alone(word, labels))}
    if len(found) > 1:
        return Parsed(None, "several labels", stated)
    return Parsed(found.pop(), None, stated)


def no_key_twice(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """JSON lets the last of two equal keys win; two labels are no label."""
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key is there twice")
    return values


def encodable(reason: str) -> str:
    r"""JSON can hold half of a surrogate pair ("\ud83d"), which no file can."""
    return reason.encode("utf-8", "replace").decode("utf-8")


def label_alone(answer: str, labels: Sequence[str]) -> str | None:
    """The label that the answer is, as it stands or without what surrounds it.

    Looked up after each pair that is taken off, so that "A*" in quotes is the label A* and not A.
    """
    form, stop_taken = answer.strip(), False
    for _ in range(_MOST_PAIRS + 2):
        if not form:
            return None
        if label := same_label(form, labels):
            return label
        if form[-1] in _STOPS and not stop_taken:  # one: a label that trails off in three is in doubt
            form, stop_taken = form[:-1].rstrip(), True
        elif len(form) > 1 and (form[0], form[-1]) in _PAIRS:
            form = form[1:-1].strip()
        else:
            return None
    return None


def _may_go_on(label: str, labels: Sequence[str]) -> bool:
    """Whether an answer that was cut off at this label could have become another one."""
    begun = folded(label)
    return any(other != label and folded(other).startswith(begun) for other in labels)
