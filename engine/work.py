"""The messages between dispatcher and workers: the prompts of documents out, their answers back."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, groupby, islice, repeat
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple, Protocol

import pyarrow as pa

from xpoll.core.errors import UserError
from xpoll.core.records import COMPLETION_SCHEMA, Completion, Prompt
from xpoll.engine.backends.backend import Load

LIGHT_COLUMNS = ["document_id", "persona_id", "sample", "text", "finish_reason", "error_kind"]
"""What a stop rule may read of an answer."""


class StopRule(Protocol):
    """Decides when a document needs no more answers. The engine knows nothing of labels; the rule does.

    A rule is pickled to the workers, so it must be an instance of an importable class.
    """

    def fewest(self, answers: Sequence[Completion], left: int) -> int:
        """The smallest number of further answers that could settle the document; 0 if it is settled.

        Args:
            answers: The answers so far, error rows included; of each the fields named in LIGHT_COLUMNS.
            left: Number of its prompts without an answer.

        Returns:
            A number from 0 to `left`. One more answer lowers it by at most 1, so asking exactly this many at
            a time never asks more than needed.
        """


@dataclass(frozen=True, slots=True)
class NeverStop:
    """Every prompt is asked."""

    def fewest(self, answers: Sequence[Completion], left: int) -> int:  # noqa: ARG002  (the protocol's signature)
        """All prompts that are left."""
        return left


class Work(NamedTuple):
    """One document: its prompts without an answer, in order, and the answers of earlier runs."""

    document_id: str
    prompts: tuple[Prompt, ...]
    answers: tuple[Completion, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkBatch:
    """The documents that an exchange sends.

    They travel by columns: a named tuple costs ten times what its values do, and what prompts share, as their persona,
    is sent once.
    """

    documents: list[Work]

    def __reduce__(self) -> tuple[Any, ...]:
        """How it is sent: `_received`, and the columns that it takes."""
        prompts = chain.from_iterable(map(_prompts_of, self.documents))
        columns = [list(column) for column in zip(*prompts, strict=True)]
        ids = [work.document_id for work in self.documents]
        numbers = [len(work.prompts) for work in self.documents]
        answers = {place: work.answers for place, work in enumerate(self.documents) if work.answers}
        return _received, (ids, numbers, columns, answers)


@dataclass(frozen=True, slots=True)
class WorkerReply:
    """A worker's reply to an exchange.

    Attributes:
        answers: New answers as an Arrow batch of COMPLETION_SCHEMA, ready for the journal; built by the
            worker, so that the single dispatcher handles no rows.
        finished: Ids of the documents that were settled.
        saved: Prompts of these that were never asked.
        running: Prompts in the engine.
        waiting: Prompts queued in the worker for room in the engine.
        stolen: Ids of unstarted documents that are returned for another worker.
        capacity: How many prompts the engine takes at the moment.
        load: The engine's report of its own queue; None where it has none.
        ended: Why the run has to end now: neither a document nor the engine is at fault. None as long as it goes on.
    """

    answers: pa.RecordBatch | None
    finished: list[str]
    saved: int
    running: int
    waiting: int
    stolen: list[str]
    capacity: int
    load: Load | None = None
    ended: UserError | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """How it is sent: the answers as one Arrow message, which is read where it lies."""
        sent = None if self.answers is None else self.answers.serialize()
        return _reply_received, (sent, *(getattr(self, name) for name in self.__slots__[1:]))


_prompts_of = attrgetter("prompts")
_document_of = itemgetter(Prompt._fields.index("document_id"))


def _received(
    ids: list[str], numbers: list[int], columns: list[list[Any]], answers: dict[int, tuple[Completion, ...]]
) -> WorkBatch:
    """The batch that was sent.

    Args:
        ids: Of the documents.
        numbers: How many prompts each document has.
        columns: One list for each field of the prompts of all documents; none where there is no prompt.
        answers: Those of earlier runs, by the place of their document, of those that have any.
    """
    # tuple.__new__ is what the constructors of named tuples call, and a third of their cost.
    prompts = map(partial(tuple.__new__, Prompt), zip(*columns, strict=True))
    groups: Iterable[tuple[Prompt, ...]]
    if numbers and set(numbers) == {numbers[0]} and numbers[0] > 0:
        groups = zip(*[prompts] * numbers[0], strict=True)
    else:
        groups = (tuple(islice(prompts, number)) for number in numbers)
    documents: list[Work] = list(map(partial(tuple.__new__, Work), zip(ids, groups, repeat(()), strict=False)))
    for place, earlier in answers.items():
        documents[place] = documents[place]._replace(answers=earlier)
    return WorkBatch(documents)


def _reply_received(answers: pa.Buffer | None, *others: Any) -> WorkerReply:
    return WorkerReply(None if answers is None else pa.ipc.read_record_batch(answers, COMPLETION_SCHEMA), *others)


def light_answers(batch: pa.RecordBatch) -> Iterator[Completion]:
    """The answers of a batch with the fields that a stop rule may read, and no others."""
    columns = (batch.column(name).to_pylist() for name in LIGHT_COLUMNS)
    for document_id, persona_id, sample, text, reason, error in zip(*columns, strict=True):
        yield Completion(document_id, persona_id, sample, text=text, finish_reason=reason, error_kind=error)


def by_document(prompts: Iterable[Prompt]) -> Iterator[Work]:
    """Groups prompts by document; the prompts of a document must be adjacent."""
    for document_id, group in groupby(prompts, key=_document_of):
        yield Work(document_id, tuple(group))
