"""What a prompt says of the answer, and what the engine holds it to: the part that a kind of task decides."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from xpoll.core.config.task import Example

Answered = str | list[Any]
"""What an answer names: one label, or a list of labels or of quotes with labels."""


def one_of(labels: Sequence[str]) -> dict[str, Any]:
    """JSON schema of one label."""
    return {"type": "string", "enum": list(labels)}


def first_label(example: Example) -> Answered:
    """The label of an example."""
    return example.label


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """How the answers to a kind of task are asked for.

    Attributes:
        bare: What stands between "Answer with" and the list of labels, where the answer has no reason.
        in_json: What stands between the JSON property's name and the list of labels, where it has one.
        note: A sentence before both, e.g. what the order of the labels means; empty for none.
        key: JSON property that holds the answer beside its reason.
        schema: From the labels, in the task's order, to the JSON schema of what is answered.
        one_label: Whether what is answered is one of the labels: the engine is then held to them as choices, and can
            say how likely it held each to be.
        shown: What the answer to an example names.
        example_key: Which key of an example says that: label, labels or spans.
        max_tokens: Room for an answer where the labels do not tell its length; None where they do.
    """

    bare: str = "one of"
    in_json: str = "one of"
    note: str = ""
    key: str = "label"
    schema: Callable[[Sequence[str]], dict[str, Any]] = one_of
    one_label: bool = True
    shown: Callable[[Example], Answered] = first_label
    example_key: str = "label"
    max_tokens: int | None = None


ONE_LABEL = AnswerFormat()
"""One label per text."""
