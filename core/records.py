"""The records that pass from step to step, and their Arrow schemas.

Steps share nothing else. Each prompt's key (document_id, persona_id, sample) gets exactly one completion,
with text or with an error. Records of which there are millions are named tuples: they are pickled between
processes at a third of a dataclass's cost.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeVar

import pyarrow as pa

from xpoll.core.questions import Questions, with_question
from xpoll.core.span_records import SpanConsensus, SpanVote

Message = dict[str, str]
"""One chat message: {"role": "system" | "user" | "assistant", "content": ...}."""

Split = Literal["train", "gold"]


class Key(NamedTuple):
    """Identity of one prompt: the document, the persona, and the number of the sample, from 0."""

    document_id: str
    persona_id: str
    sample: int


class Document(NamedTuple):
    """One text to label. `gold_label` is None unless the row is from the gold file.

    A row that cannot be labelled has a `problem`; its completions are error rows with that message. In a multi
    task `gold_label` holds all labels, joined by `core.task.SEPARATOR`; in a spans task it is a JSON list of spans.
    """

    document_id: str
    text: str
    split: Split
    gold_label: str | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the engine samples tokens.

    `max_tokens` is the longest answer; None allows all that the prompt leaves of the model's context.
    `more` holds further parameters as a JSON object, under the names of vLLM's SamplingParams, e.g.
    '{"stop": ["###"]}'; it is a string so that the record is hashable.
    """

    temperature: float
    top_p: float
    max_tokens: int | None
    more: str | None = None


@dataclass(frozen=True, slots=True)
class AnswerSchema:
    """What the engine constrains an answer to: one of `choices`, bare or as a JSON property.

    With `json_schema` the answer is a JSON value of that schema and `choice_property` names the
    property that holds the choice, if there are choices. Without it the whole answer is the choice.
    Without either the answer is free text. With `logprobs` the engine also returns the log-probability
    of each choice. With `read` it generates nothing: it returns the log-probability of each choice as the whole
    answer, and the likeliest one as its text. With `questions` each choice is read by itself: the engine returns the
    log-probability that it fits, and a JSON list of the choices that are likelier to fit than not as its text.
    `descriptions` has one for each choice, empty where there is none, and `examples` the texts that are known to have
    each choice; only models that compare texts to choices read them. With `must_hold` an answer that the engine cannot
    be held to is an error row; without, it is free text then, which is parsed strictly.
    """

    choices: tuple[str, ...] = ()
    json_schema: str | None = None
    choice_property: str | None = None
    logprobs: bool = False
    read: bool = False
    descriptions: tuple[str, ...] = ()
    examples: tuple[tuple[str, ...], ...] = ()
    questions: Questions | None = None
    must_hold: bool = field(default=False, compare=False)


class Prompt(NamedTuple):
    """One request to the engine. Messages are chat messages; the model's template is applied later.

    With a `problem` it is not sent, and its completion is an error row.
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
        """Its identity."""
        return Key(self.document_id, self.persona_id, self.sample)

    def wordings(self) -> list[tuple[Message, ...]]:
        """The messages of each request that a read of it takes: one for each question, else one."""
        questions = self.answer.questions
        return [self.messages] if questions is None else [with_question(self.messages, each) for each in questions.each]

    def in_words(self) -> "Prompt":
        """What an engine is asked that writes its answers: all questions as one, answered by a JSON value."""
        questions = self.answer.questions
        if questions is None:
            return self
        messages = with_question(self.messages, questions.together)
        return self._replace(messages=messages, answer=AnswerSchema(json_schema=self.answer.json_schema))


class Completion(NamedTuple):
    """The result of one prompt: `text`, or `error_kind` and `error`.

    `choice_logprobs` has one natural logarithm per choice of the answer schema, normalised over the
    choices; None where it was not requested or cannot be computed from what the engine returned. `unread_choices`
    of them are bounds: the engine told of likelier ones only, and they share what these left. Where the schema has
    questions it is the logarithm of P(yes), normalised over yes and no and not over the choices; an engine that wrote
    the list of choices instead left all of them unread. `prompt_tokens` counts `cached_prompt_tokens` too, and both
    are of all requests that the answer took.
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
    unread_choices: int | None = None

    @property
    def key(self) -> Key:
        """That of the prompt."""
        return Key(self.document_id, self.persona_id, self.sample)


def voter_of(teacher: str | None, persona_id: str) -> str:
    """Name of a persona, of a teacher where the job has several."""
    return persona_id if teacher is None else f"{teacher}/{persona_id}"


class Vote(NamedTuple):
    """One parsed completion. `label` is None where `unparsable` says why.

    `distribution` is over the task's labels in their order, from the engine's logprobs, or None.
    `confidence` is the probability of `label` in it, or None without a distribution. `teacher` is None in a job without
    [[teachers]].
    """

    document_id: str
    persona_id: str
    sample: int
    label: str | None
    unparsable: str | None = None
    confidence: float | None = None
    distribution: tuple[float, ...] | None = None
    stated_reason: str | None = None
    teacher: str | None = None

    @property
    def voter(self) -> str:
        """Whose vote it is: the persona, of the teacher where the job names some."""
        return voter_of(self.teacher, self.persona_id)


class SetVote(NamedTuple):
    """One parsed completion of a multi task. `labels` may be empty; it is None where `unparsable` says why.

    `probabilities` has one per label of the task, in their order, where each was read by itself; they do not sum to 1.
    """

    document_id: str
    persona_id: str
    sample: int
    labels: tuple[str, ...] | None
    unparsable: str | None = None
    stated_reason: str | None = None
    probabilities: tuple[float, ...] | None = None


class SetConsensus(NamedTuple):
    """The consensus of one document of a multi task, label by label, with its text.

    `labels` are those whose share of the votes is above one half; None if no vote can be read, and `abstained`
    says so. `shares` has one share per label of the task, in their order; they do not sum to 1. `undecided` are
    labels with a share of exactly one half, which are neither in nor out.
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
"""`abstained` of a document without a vote to count; its distribution means nothing."""


class Consensus(NamedTuple):
    """The consensus of one document, with its text. `label` is None where `abstained` says why.

    `distribution` is over the task's labels in their order and sums to 1. `agreement` is the share
    of the counted votes that name the most frequent label. `raw_label` is the plain majority before
    any calibration. Where a person has labelled the document, `label` is theirs and `voted_label` is that of
    the votes; elsewhere `voted_label` is None.
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


AnyRecord = Document | Completion | Vote | Consensus | SetVote | SetConsensus | SpanVote | SpanConsensus
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
        ("unread_choices", pa.int32()),
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
        ("teacher", pa.string()),
    ]
)

SET_VOTE_SCHEMA = pa.schema(
    [
        *_KEY,
        ("labels", pa.list_(pa.string())),
        ("unparsable", pa.string()),
        ("stated_reason", pa.string()),
        ("probabilities", pa.list_(pa.float64())),
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


def to_table(records: Iterable[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    """Records of one type as an Arrow table.

    Args:
        records: Named tuples whose fields are the schema's columns, in their order.
        schema: That of the type, e.g. VOTE_SCHEMA for Vote.

    Raises:
        ArrowException: a value does not fit its column.
    """
    columns = list(zip(*records, strict=True)) or [()] * len(schema)
    return pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema=schema
    )


def from_table(table: pa.Table, record: type[RecordT]) -> list[RecordT]:
    """The rows of a table as records; lists become tuples so that records are hashable.

    A column that an earlier version did not write has its field's default in every row.

    Raises:
        KeyError: a field of the record that has no default is not a column of the table.
    """
    make: Any = record
    columns = [
        table.column(name).to_pylist()
        if name in table.column_names or name not in make._field_defaults
        else [make._field_defaults[name]] * table.num_rows
        for name in make._fields
    ]
    return [make(*(tuple(v) if isinstance(v, list) else v for v in row)) for row in zip(*columns, strict=True)]


def with_labels(schema: pa.Schema, labels: Iterable[str]) -> pa.Schema:
    """The schema with the order of the labels in its `distribution` column as metadata."""
    return schema.with_metadata({b"labels": "\x1f".join(labels).encode()})


def labels_of(metadata: Mapping[bytes, bytes] | None) -> list[str]:
    """The order of labels that `with_labels` put into the metadata; empty where there is none."""
    noted = (metadata or {}).get(b"labels", b"").decode()
    return noted.split("\x1f") if noted else []
