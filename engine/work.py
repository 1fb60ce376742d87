"""What travels between dispatcher and workers: a document's prompts out, its answers back."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple, Protocol

import pyarrow as pa

from xpoll.core.records import Completion, Prompt
from xpoll.engine.backends.backend import Load


class StopRule(Protocol):
    """Says when a document needs no more answers. The engine knows nothing of labels; the rule does.

    A rule is pickled to the workers, so it must be an object of an importable class.
    """

    def fewest(self, answers: Sequence[Completion], left: int) -> int:
        """The least number of further answers that could settle the document; 0 if it is settled.

        Args:
            answers: What was answered so far, error rows included.
            left: How many of its prompts have no answer yet.

        Returns:
            A number from 0 to `left`. An answer more lowers it by at most 1, so that asking just
            this many at a time never asks one too many.
        """


@dataclass(frozen=True, slots=True)
class NeverStop:
    """Every prompt is asked."""

    def fewest(self, answers: Sequence[Completion], left: int) -> int:
        return left


class Work(NamedTuple):
    """One document: prompts still to ask, in order, and the answers that earlier runs left."""

    document_id: str
    prompts: tuple[Prompt, ...]
    answers: tuple[Completion, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkBatch:
    """What a worker is handed at an exchange; Ray would serialise the items of a plain list one by one."""

    documents: list[Work]


@dataclass(frozen=True, slots=True)
class WorkerReply:
    """What a worker gives back at an exchange.

    Attributes:
        answers: Finished answers as an Arrow batch of COMPLETION_SCHEMA, ready for the journal; the
            worker makes it, so that the one dispatcher does not touch rows.
        finished: Documents that are settled.
        saved: Prompts of these that were never asked.
        running: Prompts handed to the engine.
        waiting: Prompts that could be asked at once but have no place in the engine yet.
        given_back: Documents that were asked back and have not been begun.
        places: How many prompts the engine takes at the moment.
        load: What the engine said of its own queue; None where it does not say.
    """

    answers: pa.RecordBatch | None
    finished: list[str]
    saved: int
    running: int
    waiting: int
    given_back: list[str]
    places: int
    load: Load | None = None


def by_document(prompts: Iterable[Prompt]) -> Iterator[Work]:
    """Groups prompts; those of a document stand together."""
    for document_id, group in groupby(prompts, key=lambda prompt: prompt.document_id):
        yield Work(document_id, tuple(group))
