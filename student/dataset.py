"""From voted labels to training rows and targets.

Reads labels.parquet. A document whose panel abstained is left out of training and counted, never
given a label.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from xpoll.core.errors import InputError
from xpoll.core.records import Consensus, from_table, labels_of


class TrainingRows(NamedTuple):
    """The rows to train on, and those of the train split that have no label."""

    rows: list[Consensus]
    abstained: list[Consensus]


def read_labels(path: Path) -> tuple[list[Consensus], list[str]]:
    """The voted documents in file order, and the label order of their distributions.

    Raises:
        InputError: the file is missing, is no Parquet file, or was not written by `xpoll vote`.
    """
    try:
        table = pq.read_table(path)
        consensus = from_table(table, Consensus)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist", mend="xpoll vote writes it") from error
    except (OSError, pa.ArrowException, KeyError) as error:
        raise InputError(
            f"{path} cannot be read as voted labels: {error}", mend="write it anew with xpoll vote"
        ) from error
    labels = labels_of(table.schema.metadata)
    if not labels:
        raise InputError(f"{path} does not note the order of its labels", mend="write it anew with xpoll vote")
    return consensus, labels


def read_reasons(path: Path) -> dict[str, list[str]]:
    """The reasons stated for the readable votes on each document, by its id, in the order of votes.parquet.

    Raises:
        InputError: the file cannot be read as votes.
    """
    try:
        votes = pq.read_table(path, columns=["document_id", "label", "stated_reason"])
    except (OSError, pa.ArrowException, KeyError) as error:
        raise InputError(f"{path} cannot be read as votes: {error}", mend="write it anew with xpoll vote") from error
    reasons: dict[str, list[str]] = {}
    for document_id, label, reason in zip(*(column.to_pylist() for column in votes.columns), strict=True):
        if label is not None and reason:
            reasons.setdefault(document_id, []).append(reason)
    return reasons


def training_rows(consensus: Sequence[Consensus], labels: Sequence[str]) -> TrainingRows:
    """The decided rows of the train split, in order.

    Raises:
        InputError: no row was decided, all were decided alike, or a label is not one of `labels`.
    """
    train = [row for row in consensus if row.split == "train"]
    decided = [row for row in train if row.label is not None]
    counts = Counter(row.label for row in decided)
    if not counts:
        raise InputError(
            f"none of the {len(train)} documents has a label to train on: the panel abstained on all of them",
            mend="raise panel.samples or name more panel.personas, then xpoll poll and xpoll vote",
        )
    unknown = next((label for label in counts if label not in labels), None)
    if unknown is not None:
        raise InputError(
            f"label {unknown!r} is not one of {list(labels)}", mend="write the labels anew with xpoll vote"
        )
    if len(counts) == 1:
        (only,) = counts
        raise InputError(
            f"{_all_of(len(decided))} labelled {only!r}, and a student needs at least 2 labels",
            mend="add documents of other labels, or reword task.question and the label descriptions and poll again",
        )
    return TrainingRows(decided, [row for row in train if row.label is None])


def _all_of(number: int) -> str:
    return "the only decided document is" if number == 1 else f"all {number} decided documents are"


def targets(rows: Sequence[Consensus], labels: Sequence[str], *, soft: bool) -> list[list[float]]:
    """One probability per label and row: the voted distribution, or 1 for the voted label and 0 for the others."""
    if soft:
        return [list(row.distribution) for row in rows]
    return [[float(label == row.label) for label in labels] for row in rows]


def label_counts(rows: Sequence[Consensus], labels: Sequence[str]) -> dict[str, int]:
    """Number of rows voted for each label, in label order; 0 for a label that nobody got."""
    counts = Counter(row.label for row in rows)
    return {label: counts[label] for label in labels}
