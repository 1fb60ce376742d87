"""The records that travel from step to step, and their Arrow schemas.

Steps share nothing else. A key (document_id, persona_id, sample) that was asked ends exactly once,
as a completion with text or as one with an error. Records that there are millions of are named tuples:
they are pickled between processes at a third of a dataclass's cost.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

Message = dict[str, str]
"""One chat message: {"role": "system" | "user" | "assistant", "content": ...}."""

Split = Literal["train", "gold"]


class Key(NamedTuple):
    """Identity of one question: which document, put to which persona, which time."""

    document_id: str
    persona_id: str
    sample: int


class Document(NamedTuple):
    """One text to label. `gold_label` is None unless the row came from the gold file.

    A row that cannot be asked about has a `problem`; it ends as error rows with that message. Of a multi
    task `gold_label` holds all labels, joined by `core.task.SEPARATOR`.
    """

    document_id: str
    text: str
    split: Split
    gold_label: str | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the engine draws tokens.

    `max_tokens` is the longest answer; None leaves all that the prompt leaves of the model's context.
    `more` holds further parameters as a JSON object, under the names of vLLM's SamplingParams, e.g.
    '{"stop": ["###"]}'; it is a string so that the record stays hashable.
    """

    temperature: float
    top_p: float
    max_tokens: int | None
    more: str | None = None


@dataclass(frozen=True, slots=True)
class AnswerSchema:
    """What the engine constrains an answer to: one of `choices`, bare or as a JSON property.

    With `json_schema` the answer is a JSON object of that schema and `choice_property` names the
    property that holds the choice, if there are choices. Without it the whole answer is the choice.
    Without either the answer is free text. With `logprobs` the engine also returns how likely it
    held each choice to be.
    """

    choices: tuple[str, ...] = ()
    json_schema: str | None = None
    choice_property: str | None = None
    logprobs: bool = False


class Prompt(NamedTuple):
    """One question to the engine. Messages are chat messages; the model's template is applied later.

    With a `problem` the question is not asked and ends as an error row.
    """

    document_id: str
    persona_id: str
    sample: int
    messages: tuple[Message, ...]
    sampling: Sampling
    answer: AnswerSchema
    problem: str | None = None

    @property
    def key(self) -> Key:
        return Key(self.document_id, self.persona_id, self.sample)


class Completion(NamedTuple):
    """How one question ended: with text, or with `error_kind` and `error`.

    `choice_logprobs` has one natural logarithm per choice of the answer schema, normalised over the
    choices; None where it was not asked for or cannot be told from what the engine returned.
    """

    document_id: str
    persona_id: str
    sample: int
    text: str | None = None
    finish_reason: str | None = None
    prompt_tokens: int = 0
    cached_prompt_tokens: int = 0
    output_tokens: int = 0
    choice_logprobs: tuple[float, ...] | None = None
    worker: str = ""
    device: str = ""
    started_unix_s: float = 0.0
    latency_s: float = 0.0
    error_kind: str | None = None
    error: str | None = None

    @property
    def key(self) -> Key:
        return Key(self.document_id, self.persona_id, self.sample)


class Vote(NamedTuple):
    """One completion, read. `label` is None with `unparsable` saying why.

    `distribution` is over the task's labels in their order, from the engine's logprobs, or None.
    `confidence` is the share of it that `label` holds, or None without a distribution.
    """

    document_id: str
    persona_id: str
    sample: int
    label: str | None
    unparsable: str | None = None
    confidence: float | None = None
    distribution: tuple[float, ...] | None = None
    stated_reason: str | None = None


class SetVote(NamedTuple):
    """One completion of a multi task, read. `labels` is None with `unparsable` saying why; it can be empty."""

    document_id: str
    persona_id: str
    sample: int
    labels: tuple[str, ...] | None
    unparsable: str | None = None
    stated_reason: str | None = None


class SetConsensus(NamedTuple):
    """The votes of one document of a multi task, counted label by label, beside its text.

    `labels` are those whose share is above one half, None with `abstained` saying why if no vote can be
    read. `shares` has one share for each of the task's labels in their order; they do not sum to 1.
    `undecided` are labels with a share of one half, which stand on neither side.
    """

    document_id: str
    split: Split
    text: str
    labels: tuple[str, ...] | None
    shares: tuple[float, ...]
    undecided: tuple[str, ...]
    votes_counted: int
    abstained: str | None = None
    gold_labels: tuple[str, ...] | None = None


NO_READABLE_VOTE = "no readable vote"
"""Why there is no label where there is no vote to count; the distribution then says nothing."""


class Consensus(NamedTuple):
    """The votes of one document, counted, beside its text. `label` is None with `abstained` saying why.

    `distribution` is over the task's labels in their order and sums to 1. `agreement` is the share
    of the counted votes that name the most frequent label. `raw_label` is the plain majority before
    any calibration. Where a person has labelled the document, `label` is theirs and `voted_label` what
    the votes said; elsewhere `voted_label` is None.
    """

    document_id: str
    split: Split
    text: str
    label: str | None
    distribution: tuple[float, ...]
    confidence: float
    votes_counted: int
    votes_saved: int
    agreement: float
    abstained: str | None = None
    raw_label: str | None = None
    gold_label: str | None = None
    voted_label: str | None = None


AnyRecord = Document | Completion | Vote | Consensus | SetVote | SetConsensus
RecordT = TypeVar("RecordT")

_KEY = [("document_id", pa.string()), ("persona_id", pa.string()), ("sample", pa.int32())]

DOCUMENT_SCHEMA = pa.schema(
    [
        ("document_id", pa.string()),
        ("text", pa.string()),
        ("split", pa.string()),
        ("gold_label", pa.string()),
        ("problem", pa.string()),
    ]
)

COMPLETION_SCHEMA = pa.schema(
    [
        *_KEY,
        ("text", pa.string()),
        ("finish_reason", pa.string()),
        ("prompt_tokens", pa.int32()),
        ("cached_prompt_tokens", pa.int32()),
        ("output_tokens", pa.int32()),
        ("choice_logprobs", pa.list_(pa.float32())),
        ("worker", pa.string()),
        ("device", pa.string()),
        ("started_unix_s", pa.float64()),
        ("latency_s", pa.float32()),
        ("error_kind", pa.string()),
        ("error", pa.string()),
    ]
)

VOTE_SCHEMA = pa.schema(
    [
        *_KEY,
        ("label", pa.string()),
        ("unparsable", pa.string()),
        ("confidence", pa.float64()),
        ("distribution", pa.list_(pa.float64())),
        ("stated_reason", pa.string()),
    ]
)

SET_VOTE_SCHEMA = pa.schema(
    [
        *_KEY,
        ("labels", pa.list_(pa.string())),
        ("unparsable", pa.string()),
        ("stated_reason", pa.string()),
    ]
)

SET_CONSENSUS_SCHEMA = pa.schema(
    [
        ("document_id", pa.string()),
        ("split", pa.string()),
        ("text", pa.string()),
        ("labels", pa.list_(pa.string())),
        ("shares", pa.list_(pa.float64())),
        ("undecided", pa.list_(pa.string())),
        ("votes_counted", pa.int32()),
        ("abstained", pa.string()),
        ("gold_labels", pa.list_(pa.string())),
    ]
)

CONSENSUS_SCHEMA = pa.schema(
    [
        ("document_id", pa.string()),
        ("split", pa.string()),
        ("text", pa.string()),
        ("label", pa.string()),
        ("distribution", pa.list_(pa.float64())),
        ("confidence", pa.float64()),
        ("votes_counted", pa.int32()),
        ("votes_saved", pa.int32()),
        ("agreement", pa.float64()),
        ("abstained", pa.string()),
        ("raw_label", pa.string()),
        ("gold_label", pa.string()),
        ("voted_label", pa.string()),
    ]
)


def to_table(records: Iterable[AnyRecord], schema: pa.Schema) -> pa.Table:
    """Records of one type as an Arrow table; the schema's columns are the record's fields in their order."""
    columns = list(zip(*records, strict=True)) or [()] * len(schema)
    return pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema=schema
    )


def from_table(table: pa.Table, record: type[RecordT]) -> list[RecordT]:
    """The rows of a table as records; lists become tuples so that records stay hashable."""
    make: Any = record
    columns = [table.column(name).to_pylist() for name in make._fields]
    return [make(*(tuple(v) if isinstance(v, list) else v for v in row)) for row in zip(*columns, strict=True)]


def stream_records(path: Path, record: type[RecordT]) -> Iterator[RecordT]:
    """The rows of a Parquet file as records; one batch of them is in memory at a time."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=8192):
            yield from from_table(pa.Table.from_batches([batch]), record)


def with_labels(schema: pa.Schema, labels: Iterable[str]) -> pa.Schema:
    """The schema with the label order of its `distribution` column noted in the file metadata."""
    return schema.with_metadata({b"labels": "\x1f".join(labels).encode()})


def labels_of(metadata: Mapping[bytes, bytes] | None) -> list[str]:
    """The label order noted by `with_labels`; empty when there is none."""
    noted = (metadata or {}).get(b"labels", b"").decode()
    return noted.split("\x1f") if noted else []
