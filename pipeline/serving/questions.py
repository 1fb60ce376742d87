"""From a distribution over a task's labels to answers of the three kinds that decision APIs know. Pure functions.

A client of such an API names options, and a task has labels: an option is a label by its name. A question whose
options are not labels of the task is refused with the labels that there are. What the question says beside its options
cannot be checked: a student has learned one question, and a panel asks that of its job.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from xpoll.pipeline.serving.request_error import RequestError
from xpoll.pipeline.serving.text_label import TextLabel

Option = str | bool
TRUE_WORDS = ("true", "yes")
"""The label that a predicate means where the task has it and the predicate names none."""


@dataclass(frozen=True, slots=True)
class LabelQuestion:
    """A question whose options are labels.

    Attributes:
        kind: `choice`: which of the options; `score`: where on the scale of the options; `predicate`: whether it is
            the one option.
        name: What the client calls it.
        options: As the client wrote them.
        columns: Number of each option's label.
        whole: Whether the options are all labels of the task.
    """

    kind: Literal["choice", "score", "predicate"]
    name: str | None
    options: tuple[Option, ...]
    columns: tuple[int, ...]
    whole: bool


class LabelAnswer(NamedTuple):
    """The answer to one question about one text.

    Attributes:
        shares: Probability of each option among the options, sums to 1; of a predicate empty.
        winner: Number of the chosen option of a choice, of the likeliest one of a score; of a predicate 0.
        confidence: Probability of that option among all labels.
        mass: Probability of all options together: of a predicate its answer.
    """

    shares: tuple[float, ...]
    winner: int
    confidence: float
    mass: float

    @property
    def score(self) -> float:
        """Mean place on the scale of the options, from 0."""
        return sum(place * share for place, share in enumerate(self.shares))


def answer_to(question: LabelQuestion, said: TextLabel, labels: Sequence[str]) -> LabelAnswer | None:
    """The answer that what is said of a text gives to a question; None where it gives none, because the panel abstains.

    Args:
        question: The question.
        said: What is said of the text.
        labels: Those of the task, in the order of the distribution.
    """
    if said.distribution is None:
        return None
    found = [said.distribution[column] for column in question.columns]
    mass = sum(found)
    if question.kind == "predicate":
        return LabelAnswer((), 0, mass, mass)
    if mass <= 0:
        return None
    winner = found.index(max(found)) if question.kind == "score" else _winner(question, said, labels, found)
    if winner is None:
        return None
    return LabelAnswer(tuple(share / mass for share in found), winner, found[winner], mass)


def _winner(question: LabelQuestion, said: TextLabel, labels: Sequence[str], found: Sequence[float]) -> int | None:
    """The task's label where it is offered; else the likeliest option, where one is."""
    if said.label is not None and (column := list(labels).index(said.label)) in question.columns:
        return question.columns.index(column)
    if question.whole:
        return None  # every label is offered and none is the text's: an abstention
    leading = [number for number, share in enumerate(found) if share >= max(found) - 1e-9]
    return leading[0] if len(leading) == 1 else None


def question_about(
    kind: Literal["choice", "score"], name: str | None, options: Sequence[Option], labels: Sequence[str], *, where: str
) -> LabelQuestion:
    """A choice or score whose options are labels.

    Args:
        kind: Which of the two.
        name: What the client calls it.
        options: As the client wrote them.
        labels: Those of the task.
        where: Place of the question in the request, for the error.

    Raises:
        RequestError: an option is no label, or two are the same one.
    """
    columns = [_column(option, labels, where) for option in options]
    if len(set(columns)) != len(columns):
        raise RequestError(f"{where}: two options are the same label", param=where)
    return LabelQuestion(kind, name, tuple(options), tuple(columns), len(columns) == len(labels))


def predicate_about(name: str | None, labels: Sequence[str], *, where: str) -> LabelQuestion:
    """Whether the text has the label that the predicate is named after, or the label "true" or "yes" of the task.

    Args:
        name: What the client calls it.
        labels: Those of the task.
        where: Place of the question in the request, for the error.

    Raises:
        RequestError: neither is a label.
    """
    meant = name if name in labels else next((word for word in TRUE_WORDS if word in labels), None)
    if meant is None:
        raise RequestError(
            f"{where}: a predicate must have the name of a label, got {name!r}; {_known(labels)}", param=where
        )
    return LabelQuestion("predicate", name, (meant,), (list(labels).index(meant),), False)


def _column(option: Option, labels: Sequence[str], where: str) -> int:
    word = str(option).lower() if isinstance(option, bool) else option
    if word not in labels:
        raise RequestError(f"{where}: there is no label {word!r}; {_known(labels)}", param=where)
    return list(labels).index(word)


def _known(labels: Sequence[str]) -> str:
    return "the labels are " + ", ".join(repr(label) for label in labels)
