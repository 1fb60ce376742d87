"""Rows of data sets with labels by people, which are not part of xpoll, for suites that measure accuracy.

A folder that the caller names holds phrasebank/mixtral_train.csv and mixtral_test.csv (financial_phrasebank, sentences
on which all experts agree) and banking77/train.csv and test.csv (BANKING77, 77 intents).
"""

import csv
from pathlib import Path
from random import Random
from typing import Literal, NamedTuple

import numpy as np

from xpoll.core.errors import ConfigError


class LabelledSet(NamedTuple):
    """Some rows of a data set.

    Attributes:
        texts: The texts.
        truth: Number of each text's label in `labels`, int array (texts,).
        labels: All labels of the data set, sorted.
        question: What a model is asked about a text.
    """

    texts: list[str]
    truth: np.ndarray
    labels: list[str]
    question: str

    def named(self, numbers: np.ndarray) -> list[str]:
        """Labels by number."""
        return [self.labels[number] for number in numbers]


class _Place(NamedTuple):
    files: dict[str, str]
    text_column: str
    label_column: str
    question: str


SETS = {
    "phrasebank": _Place(
        {"train": "phrasebank/mixtral_train.csv", "test": "phrasebank/mixtral_test.csv"},
        "text",
        "label_experts",
        "Is the sentence good, bad or neither for the share price of the company?",
    ),
    "banking77": _Place(
        {"train": "banking77/train.csv", "test": "banking77/test.csv"},
        "text",
        "category",
        "What does the customer of a bank ask about?",
    ),
}
"""Data sets by name."""


def labelled_set(data: str, name: str, split: Literal["train", "test"], *, rows: int, seed: int) -> LabelledSet:
    """Rows drawn from a data set.

    Args:
        data: Folder that holds the data sets.
        name: One of SETS.
        split: Which of its files.
        rows: How many rows; all where there are fewer.
        seed: Of the draw.

    Raises:
        ConfigError: `data` does not hold the data set, or there is none of the name.
    """
    if name not in SETS:
        raise ConfigError(f"parameters.sets: {name!r} is none of {', '.join(SETS)}")
    files, text_column, label_column, question = SETS[name]
    path = Path(data, files[split])
    if not data or not path.exists():
        raise ConfigError(f"parameters.data: {path} is not there", mend="--set parameters.data='\"FOLDER\"'")
    with path.open(encoding="utf-8", newline="") as opened:
        found = list(csv.DictReader(opened))
    labels = sorted({row[label_column] for row in found})
    drawn = Random(seed).sample(found, min(rows, len(found)))
    truth = np.array([labels.index(row[label_column]) for row in drawn])
    return LabelledSet([row[text_column] for row in drawn], truth, labels, question)


def examples_of(data: str, name: str, *, each: int, seed: int) -> LabelledSet | None:
    """Train rows, as many of each label, in an order that is drawn; None where none are wanted.

    Raises:
        ConfigError: as `labelled_set`.
    """
    if not each:
        return None
    drawn = labelled_set(data, name, "train", rows=1_000_000, seed=seed)
    chosen = [row for label in range(len(drawn.labels)) for row in np.flatnonzero(drawn.truth == label)[:each]]
    Random(seed).shuffle(chosen)
    return drawn._replace(texts=[drawn.texts[row] for row in chosen], truth=drawn.truth[chosen])
