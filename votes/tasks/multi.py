"""Any number of labels per text: each label is a question of its own, yes or no."""

from collections.abc import Sequence
from typing import Any

from xpoll.core.config.task import SEPARATOR, Example, TaskConfig
from xpoll.core.errors import ConfigError
from xpoll.core.records import SET_CONSENSUS_SCHEMA, SET_VOTE_SCHEMA, SetVote
from xpoll.personas.answer_format import AnswerFormat, one_of
from xpoll.personas.documents import labels_in_cell, several_gold_labels
from xpoll.votes.compare_sets import compare_sets
from xpoll.votes.label_sets import set_consensus_of
from xpoll.votes.parse import to_set_vote
from xpoll.votes.tasks.kind import TaskKind


def _list_of(labels: Sequence[str]) -> dict[str, Any]:
    return {"type": "array", "items": one_of(labels), "maxItems": len(labels)}


def _all_labels(example: Example) -> list[str]:
    return example.named


def _check(task: TaskConfig) -> None:
    if split := [name for name in task.labels if SEPARATOR in name]:
        raise ConfigError(f"task.labels of a multi task must not hold {SEPARATOR!r}, got {split}", mend="rename them")


MULTI = TaskKind(
    AnswerFormat(
        bare="a JSON list of all that fit, [] if none does, of",
        in_json="a list of all that fit, [] if none does, of",
        note="Any number of labels can fit, or none.",
        key="labels",
        schema=_list_of,
        one_label=False,
        example_key="labels",
        shown=_all_labels,
    ),
    to_set_vote,
    set_consensus_of,
    compare_sets,
    vote_record=SetVote,
    vote_schema=SET_VOTE_SCHEMA,
    label_schema=SET_CONSENSUS_SCHEMA,
    read_gold=labels_in_cell(several_gold_labels),
    check=_check,
    head="label set",
    answers=frozenset({"label", "chain_of_thought", "read"}),
)
