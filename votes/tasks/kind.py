"""What is known of a kind of task: from the prompt to the label."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from xpoll.core.config.job import Config
from xpoll.core.config.task import TaskConfig
from xpoll.core.records import CONSENSUS_SCHEMA, VOTE_SCHEMA, AnyRecord, Completion, Document, Vote
from xpoll.core.run_folder import RunFolder
from xpoll.personas.answer_format import AnswerFormat
from xpoll.personas.documents import GoldReader, one_gold_label
from xpoll.personas.label_order import ShownBy

LIMITED = (
    "panel.stop",
    "panel.label_order",
    "panel.content_free",
    "panel.logprobs",
    "task.label_priors",
    "vote.learn_from_review",
    "teachers",
)
"""Keys that not every kind of task knows; `TaskKind.allows` names those that it does."""


class Aggregate(Protocol):
    """From the votes of a run to its labels."""

    def __call__(
        self,
        documents: Iterable[Document],
        votes: Iterable[Any],
        config: Config,
        *,
        reviewed: Mapping[str, str] | None = None,
        shown: ShownBy | None = None,
        probes: Iterable[Any] = (),
    ) -> Iterable[AnyRecord]:
        """One record per document, in the documents' order; the arguments are those of `consensus_of`.

        Documents that are no iterator may be gone through twice; votes are gone through once.
        """


def _anything(_: TaskConfig) -> None:
    return None


@dataclass(frozen=True, slots=True)
class TaskKind:
    """Everything that prompts, votes and later steps ask of a kind of task.

    Attributes:
        form: What prompts say of the answer, and what the engine holds it to.
        parse: From an answer and the task's labels to a vote; an answer that cannot be read is a vote that says why.
        aggregate: From votes to labels.
        compare: The votes of a run by every method, as plain JSON types, for `xpoll vote --compare`.
        allows: Keys that may differ from their default, of those in `LIMITED`.
        vote_record: The record that `parse` gives.
        vote_schema: Columns of votes.parquet: the fields of that record.
        label_schema: Columns of labels.parquet: the fields of the record that `aggregate` gives.
        read_gold: What a cell of the gold file says of a text.
        check: Raises ConfigError for a [task] section that does not fit the kind.
        head: Name of the student's head, as in student/heads/registry.py; the report's sections hang on it, too.
        answers: Which of `panel.answer` the kind can be asked with.
    """

    form: AnswerFormat
    parse: Callable[[Completion, list[str]], AnyRecord]
    aggregate: Aggregate
    compare: Callable[[RunFolder, Config], dict[str, Any]]
    allows: frozenset[str] = frozenset()
    vote_record: type[AnyRecord] = Vote
    vote_schema: pa.Schema = VOTE_SCHEMA
    label_schema: pa.Schema = CONSENSUS_SCHEMA
    read_gold: GoldReader = one_gold_label
    check: Callable[[TaskConfig], None] = _anything
    head: str = "label"
    answers: frozenset[str] = frozenset({"label", "chain_of_thought", "read", "match"})

    @property
    def gives_one_label(self) -> bool:
        """Whether `aggregate` gives `Consensus` rows, which review, decisions, cascades and estimates read."""
        return self.label_schema is CONSENSUS_SCHEMA
