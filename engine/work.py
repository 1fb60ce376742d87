"""The messages between dispatcher and workers: the prompts of documents out, their answers back."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple, Protocol

import pyarrow as pa

from xpoll.core.errors import UserError
from xpoll.core.records import Completion, Prompt
from xpoll.engine.backends.backend import Load


class StopRule(Protocol):
    """Decides when a document needs no more answers. The engine knows nothing of labels; the rule does.

    A rule is pickled to the workers, so it must be an instance of an importable class.
    """

    def fewest(self, answers: Sequence[Completion], left: int) -> int:
        """The smallest number of further answers that could settle the document; 0 if it is settled.

        Args:
            answers: The answers so far, error rows included.
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
    """The documents that an exchange sends; Ray would serialise the items of a plain list one by one."""

    documents: list[Work]


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


def by_document(prompts: Iterable[Prompt]) -> Iterator[Work]:
    """Groups prompts by document; the prompts of a document must be adjacent."""
    for document_id, group in groupby(prompts, key=lambda prompt: prompt.document_id):
        yield Work(document_id, tuple(group))
