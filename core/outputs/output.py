"""What an output is: from texts and what is known of them to a file or folder that other tools take."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow as pa

from xpoll.core.errors import ConfigError
from xpoll.core.formatting import counted, number

Holds = Literal["label", "labels", "spans", "nothing"]
"""What a text can have: one label, any number of them, labelled parts, or none of these."""
_IN_WORDS: Mapping[str, str] = {
    "label": "one label per text",
    "labels": "several labels per text",
    "spans": "labelled parts of texts",
    "nothing": "texts without labels",
}


class LabelledSpan(NamedTuple):
    """A labelled part of a text: characters from `start` to before `end`, counted as code points."""

    start: int
    end: int
    label: str
    share: float | None = None


class OutputRow(NamedTuple):
    """One text with what is known of it.

    Attributes:
        id: Its id, unique in its set.
        text: The text; of a pair the first one.
        text_pair: The second text of a pair.
        label: One label, all labels, or all spans, as `TextSet.holds` says; None where it is not known.
        score: How sure that is, 0 to 1; of several labels or spans, of the one that is least so.
        prompt: What a text that answers something answers.
        completion: The answer.
        is_gold: Whether it is kept apart to measure with, so that nothing is to be trained on it.
        note: Why it has no label.
    """

    id: str
    text: str
    text_pair: str | None = None
    label: str | tuple[str, ...] | tuple[LabelledSpan, ...] | None = None
    score: float | None = None
    prompt: str | None = None
    completion: str | None = None
    is_gold: bool = False
    note: str | None = None

    @property
    def as_one_text(self) -> str:
        """Both texts of a pair below each other, for forms that have one place for them."""
        return self.text if self.text_pair is None else f"{self.text}\n{self.text_pair}"


class ParquetTable(NamedTuple):
    """What a folder of Parquet files has of the texts.

    Attributes:
        schema: Its columns.
        splits: Name of a split to its rows, anew at each call: cells in the order of the columns.
        columns: Name of a column, or of several, to what it means, for the card.
    """

    schema: pa.Schema
    splits: Mapping[str, Callable[[], Iterator[Sequence[Any]]]]
    columns: Mapping[str, str]


class TextSet(NamedTuple):
    """What is written out.

    Attributes:
        rows: Gives the texts, anew at each call.
        holds: What they can have.
        labels: The labels, in their order.
        question: What a label answers.
        instruction: The question with the form of its answer, as a model is told it.
        made_by: Whose labels they are, in letters, digits and `/-_.`.
        is_pair: Whether they are pairs.
        table: The same for a folder of Parquet files.
        card: From the number of rows written to the lines of a data card, without its YAML header.
        tags: Of that header.
    """

    rows: Callable[[], Iterator[OutputRow]]
    holds: Holds
    labels: Sequence[str]
    question: str
    instruction: str
    made_by: str
    is_pair: bool
    table: ParquetTable
    card: Callable[[int], Iterator[str]]
    tags: Sequence[str]


GOLD = "of the gold rows, which nothing is to be trained on"
NO_LABEL = "without a label"


class WrittenOutput(NamedTuple):
    """An output that was written.

    Attributes:
        path: The file or folder.
        rows: Rows in it.
        left_out: Why rows are not in it, to how many.
        note: What to do with it.
    """

    path: Path
    rows: int
    left_out: Mapping[str, int] = {}
    note: str = ""

    @property
    def line(self) -> str:
        """In words."""
        left = "; ".join(f"{number(rows)} {why}" for why, rows in self.left_out.items() if rows)
        told = f"; left out: {left}" if left else ""
        return f"wrote {counted(self.rows, 'row')} to {self.path}{told}{'; ' if self.note else ''}{self.note}"


class Output(NamedTuple):
    """One form.

    Attributes:
        about: What it is, behind "write".
        metavar: What its option takes.
        write: Writes it, whole or not at all.
        takes: Which sets it has a form for.
    """

    about: str
    metavar: str
    write: Callable[[TextSet, Path], WrittenOutput]
    takes: frozenset[Holds]


def to_train_on(texts: TextSet, left_out: Counter[str]) -> Iterator[OutputRow]:
    """The rows that a model can be trained on: labelled, or a prompt with its completion, and not gold.

    Args:
        texts: The set.
        left_out: Counts the others.
    """
    for row in texts.rows():
        if row.is_gold:
            left_out[GOLD] += 1
        elif row.label is None and (row.prompt is None or row.completion is None):
            left_out[NO_LABEL] += 1
        else:
            yield row


def check_takes(name: str, output: Output, texts: TextSet, others: Mapping[str, Output]) -> None:
    """Refuses a set that a form has no place for.

    Args:
        name: Of the form.
        output: The form.
        texts: The set.
        others: All forms, of which those that fit are named.

    Raises:
        ConfigError: it is such a set.
    """
    if texts.holds in output.takes:
        return
    fit = ", ".join(f"--{other}" for other, each in others.items() if texts.holds in each.takes)
    raise ConfigError(f"--{name} has no form for {_IN_WORDS[texts.holds]}", mend=f"one of these has: {fit}")
