"""Rows of NLU++: queries to a bank with several intents each and slots as spans, which are not part of xpoll.

A folder that the caller names holds nlupp_banking/fold0.json to fold4.json and ontology.json. Fold 4 is the test split.
"""

import json
from pathlib import Path
from random import Random
from typing import Any, Literal, NamedTuple

import numpy as np

from xpoll.core.errors import ConfigError
from xpoll.core.spans import TextSpan

QUESTION = "What does the customer of a bank say or ask about?"
FOLDS = {"train": (0, 1, 2, 3), "test": (4,)}
DOMAINS = ("general", "banking")


class IntentRows(NamedTuple):
    """Some queries with their intents.

    Attributes:
        texts: The queries.
        truth: Whether each intent fits, bool array (texts, labels).
        labels: Name of each intent to what it is, as the data set describes it.
    """

    texts: list[str]
    truth: np.ndarray
    labels: dict[str, str]


def nlu_plus_plus(data: str, split: Literal["train", "test"], *, rows: int, seed: int) -> IntentRows:
    """Queries that have intents, drawn from a split.

    Args:
        data: Folder that holds the data sets.
        split: Which folds.
        rows: How many queries; all where there are fewer.
        seed: Of the draw.

    Raises:
        ConfigError: `data` does not hold the data set.
    """
    folder = _folder(data)
    intents = _described(folder, "intents")
    labels = {name: about["description"] for name, about in intents.items() if set(about["domain"]) & set(DOMAINS)}
    found = [row for row in _rows(folder, split) if row.get("intents")]
    drawn = Random(seed).sample(found, min(rows, len(found)))
    truth = np.array([[name in row["intents"] for name in labels] for row in drawn])
    readable = {name.replace("_", " "): text.rstrip("?. ") for name, text in labels.items()}
    return IntentRows([row["text"] for row in drawn], truth, readable)


class SlotRows(NamedTuple):
    """Some queries with their slots.

    Attributes:
        texts: The queries, most of them without a slot.
        spans: The slots of each, in the order of the text.
        labels: Name of each slot to what it is, as the data set describes it.
    """

    texts: list[str]
    spans: list[list[TextSpan]]
    labels: dict[str, str]


def nlu_slots(data: str, split: Literal["train", "test"], *, rows: int, seed: int) -> SlotRows:
    """Queries with the slots that they hold, drawn from a split.

    Args:
        data: Folder that holds the data sets.
        split: Which folds.
        rows: How many queries; all where there are fewer.
        seed: Of the draw.

    Raises:
        ConfigError: `data` does not hold the data set.
    """
    folder = _folder(data)
    slots = _described(folder, "slots")
    labels = {name: about["description"] for name, about in slots.items() if set(about["domain"]) & set(DOMAINS)}
    found = _rows(folder, split)
    drawn = Random(seed).sample(found, min(rows, len(found)))
    spans = [
        sorted(
            TextSpan(slot["span"][0], slot["span"][1], name.replace("_", " "))
            for name, slot in row.get("slots", {}).items()
        )
        for row in drawn
    ]
    readable = {name.replace("_", " "): text.rstrip("?. ") for name, text in labels.items()}
    return SlotRows([row["text"] for row in drawn], spans, readable)


def _folder(data: str) -> Path:
    folder = Path(data, "nlupp_banking")
    if not data or not (folder / "ontology.json").exists():
        raise ConfigError(f"parameters.data: {folder} is not there", mend="--set parameters.data='\"FOLDER\"'")
    return folder


def _described(folder: Path, what: Literal["intents", "slots"]) -> dict[str, Any]:
    made: dict[str, Any] = json.loads((folder / "ontology.json").read_text(encoding="utf-8"))[what]
    return made


def _rows(folder: Path, split: str) -> list[dict[str, Any]]:
    files = [folder / f"fold{number}.json" for number in FOLDS[split]]
    return [row for file in files for row in json.loads(file.read_text(encoding="utf-8"))]
