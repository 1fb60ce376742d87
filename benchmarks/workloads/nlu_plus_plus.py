"""Rows of NLU++: queries to a bank with several intents each, which are not part of xpoll.

A folder that the caller names holds nlupp_banking/fold0.json to fold4.json and ontology.json. Fold 4 is the test split.
"""

import json
from pathlib import Path
from random import Random
from typing import Literal, NamedTuple

import numpy as np

from xpoll.core.errors import ConfigError

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
    folder = Path(data, "nlupp_banking")
    if not data or not (folder / "ontology.json").exists():
        raise ConfigError(f"parameters.data: {folder} is not there", mend="--set parameters.data='\"FOLDER\"'")
    intents = json.loads((folder / "ontology.json").read_text(encoding="utf-8"))["intents"]
    labels = {name: about["description"] for name, about in intents.items() if set(about["domain"]) & set(DOMAINS)}
    files = [folder / f"fold{number}.json" for number in FOLDS[split]]
    found = [row for file in files for row in json.loads(file.read_text(encoding="utf-8")) if row.get("intents")]
    drawn = Random(seed).sample(found, min(rows, len(found)))
    truth = np.array([[name in row["intents"] for name in labels] for row in drawn])
    readable = {name.replace("_", " "): text.rstrip("?. ") for name, text in labels.items()}
    return IntentRows([row["text"] for row in drawn], truth, readable)
