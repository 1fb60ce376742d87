"""The records of a spans task, and their Arrow schemas."""

from typing import Any, Literal, NamedTuple

import pyarrow as pa


class SpanVote(NamedTuple):
    """One parsed completion of a spans task. `quotes` may be empty; it is None where `unparsable` says why.

    Each quote is {"text": ..., "label": ...}, in the order of the answer; where they stand in the document is looked
    for when votes are counted.
    """

    document_id: str
    persona_id: str
    sample: int
    quotes: tuple[dict[str, str], ...] | None
    unparsable: str | None = None
    stated_reason: str | None = None


class SpanConsensus(NamedTuple):
    """The consensus of one document of a spans task, character by character, with its text.

    Spans are {"start", "end", "label", "share"}, in characters of the text, in their order. `spans` have more than half
    of the weight at each of their characters, and `share` is the mean over these; they do not overlap. None if no vote
    can be counted, and `abstained` says so. `undecided` are places with just half of the weight, which are not in
    `spans`. `candidates` is every span of a vote, with the share of the votes that have it. `quotes_not_found` counts
    quotes of readable votes that do not stand in the text.
    """

    document_id: str
    split: Literal["train", "gold"]
    text: str
    spans: tuple[dict[str, Any], ...] | None
    candidates: tuple[dict[str, Any], ...]
    undecided: tuple[dict[str, Any], ...]
    votes_counted: int
    quotes_not_found: int = 0
    abstained: str | None = None
    gold_spans: tuple[dict[str, Any], ...] | None = None


SPAN_VOTE_SCHEMA = pa.schema(
    [
        ("document_id", pa.string()),
        ("persona_id", pa.string()),
        ("sample", pa.int32()),
        ("quotes", pa.list_(pa.struct([("text", pa.string()), ("label", pa.string())]))),
        ("unparsable", pa.string()),
        ("stated_reason", pa.string()),
    ]
)

SPAN_TYPE = pa.list_(
    pa.struct([("start", pa.int32()), ("end", pa.int32()), ("label", pa.string()), ("share", pa.float64())])
)

SPAN_CONSENSUS_SCHEMA = pa.schema(
    [
        ("document_id", pa.string()),
        ("split", pa.string()),
        ("text", pa.string()),
        ("spans", SPAN_TYPE),
        ("candidates", SPAN_TYPE),
        ("undecided", SPAN_TYPE),
        ("votes_counted", pa.int32()),
        ("quotes_not_found", pa.int32()),
        ("abstained", pa.string()),
        ("gold_spans", SPAN_TYPE),
    ]
)
