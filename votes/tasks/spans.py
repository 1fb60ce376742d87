"""Labelled parts of a text, as exact quotes: each stretch of the text is voted on by itself."""

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from xpoll.core.config.task import Example, TaskConfig
from xpoll.core.errors import ConfigError
from xpoll.core.sameness import named, same_label
from xpoll.core.span_records import SPAN_CONSENSUS_SCHEMA, SPAN_VOTE_SCHEMA, SpanVote
from xpoll.personas.answer_format import AnswerFormat, one_of
from xpoll.personas.documents import Gold
from xpoll.votes.compare_spans import compare_spans
from xpoll.votes.quotes import to_span_vote
from xpoll.votes.span_consensus import placed, span_consensus_of
from xpoll.votes.tasks.kind import TaskKind

MAX_TOKENS = 512
"""Room for the quotes of an answer."""
MOST_ASKED = 40
"""Quotes that an answer may have, so that a model that repeats itself ends with a list that can be read."""


def _quotes_of(labels: Sequence[str]) -> dict[str, Any]:
    return {
        "type": "array",
        "maxItems": MOST_ASKED,
        "items": {
            "type": "object",
            "properties": {"text": {"type": "string", "minLength": 1}, "label": one_of(labels)},
            "required": ["text", "label"],
            "additionalProperties": False,
        },
    }


def _all_quotes(example: Example) -> list[Any]:
    return example.spans or []


def read_gold_spans(cell: Any, text: str, labels: list[str]) -> Gold:
    """The spans in a cell: a list, also as JSON, of {start, end, label}; empty or an empty list is no span.

    `start` and `end` are numbers of characters, `end` behind the last one. A span outside of the text, an empty one,
    an unknown label, or two spans that overlap are a problem of the row.
    """
    if isinstance(cell, str):
        try:
            cell = json.loads(cell) if cell.strip() else []
        except (ValueError, RecursionError):
            return Gold(None, "gold spans are no JSON")
    if not isinstance(cell, list | tuple | None):
        return Gold(None, f"gold spans are no list but {type(cell).__name__}")
    found: list[dict[str, Any]] = []
    for each in cell or ():
        if not isinstance(each, dict) or not all(_is_place(each.get(key)) for key in ("start", "end")):
            return Gold(None, f"a gold span has start, end and label, got {str(each)[:80]}")
        start, end, label = int(each["start"]), int(each["end"]), same_label(each.get("label"), labels)
        if label is None or label not in labels:
            return Gold(None, f"gold label {each.get('label')!r} is not one of {named(labels)}")
        if not 0 <= start < end <= len(text):
            return Gold(None, f"the gold span from {start} to {end} is not in the text, of {len(text)} characters")
        found.append({"start": start, "end": end, "label": label})
    found.sort(key=lambda span: (span["start"], span["end"]))
    for first, second in pairwise(found):
        if second["start"] < first["end"]:
            return Gold(None, f"the gold spans at {first['start']} and {second['start']} overlap")
    return Gold(json.dumps(found))


def _is_place(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and float(value).is_integer()


def _check(task: TaskConfig) -> None:
    for example in task.examples:
        for span in example.spans or ():
            if set(span) != {"text", "label"}:
                raise ConfigError(
                    f"task.examples: a span has text and label, got {sorted(span)}, see {example.text!r}",
                    mend='spans = [{text = "exact words", label = "..."}]',
                )
        quotes = tuple(example.spans or ())
        if placed(example.text, SpanVote("", "", 0, quotes)).not_found:
            raise ConfigError(
                f"task.examples: not all spans are words of the text, see {example.text!r}",
                mend="quote the text exactly",
            )


SPANS = TaskKind(
    AnswerFormat(
        bare='a JSON list of {"text": exact words of the text, "label": their label}, in the order of the text, [] if '
        "nothing is to be marked, with the labels",
        in_json='a list of {"text": exact words of the text, "label": their label}, in the order of the text, [] if '
        "nothing is to be marked, with the labels",
        note="Mark the parts of the text that a label fits, and quote them word by word.",
        key="spans",
        schema=_quotes_of,
        one_label=False,
        shown=_all_quotes,
        example_key="spans",
        max_tokens=MAX_TOKENS,
    ),
    to_span_vote,
    span_consensus_of,
    compare_spans,
    vote_record=SpanVote,
    vote_schema=SPAN_VOTE_SCHEMA,
    label_schema=SPAN_CONSENSUS_SCHEMA,
    read_gold=read_gold_spans,
    check=_check,
    head="spans",
    answers=frozenset({"label", "chain_of_thought"}),
)
