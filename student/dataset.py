"""From voted labels to training rows and targets, and which rows are held out.

Reads labels.parquet. A document whose panel abstained is left out of training and counted, never
given a label; so is one whose text is that of a gold row, which would be measured on what it was trained on.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from xpoll.core.errors import InputError
from xpoll.core.records import NO_READABLE_VOTE, Consensus, RecordT, from_table, labels_of
from xpoll.core.sameness import first_of_same, text_digest

FEWEST_HELD_OUT = 30
"""Fewer rows than this say less about a student than they are worth to train on."""

PATIENCE = 2
"""Passes without a better held-out loss after which a training stops."""


class Rows(NamedTuple):
    """Texts with what training aims at: of one label or a set a share per label, of spans a list of them."""

    texts: Sequence[str]
    targets: Sequence[Sequence[Any]]


class HeldOut(NamedTuple):
    """Numbers of rows, each ascending."""

    train: list[int]
    held_out: list[int]


class TrainingRows(NamedTuple):
    """The rows to train on, those of the train split that have no label, and those whose text is a gold row's."""

    rows: list[Any]
    abstained: list[Any]
    measured_on: list[Any]


def read_labels(path: Path, record: type[RecordT] = Consensus) -> tuple[list[RecordT], list[str]]:  # type: ignore[assignment]
    """The voted documents in file order, and the label order of their distributions.

    Args:
        path: labels.parquet.
        record: What its rows are.

    Raises:
        InputError: the file is missing, is no Parquet file, or was not written by `xpoll vote`.
    """
    try:
        table = pq.read_table(path)
        consensus = from_table(table, record)
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


def training_rows(consensus: Sequence[Consensus], labels: Sequence[str]) -> TrainingRows:
    """The decided rows of the train split, in order.

    Raises:
        InputError: no row was decided, all were decided alike, or a label is not one of `labels`.
    """
    found = divided(consensus, lambda row: row.label, lambda row: row.gold_label)
    counts = Counter(row.label for row in found.rows)
    unknown = next((label for label in counts if label not in labels), None)
    if unknown is not None:
        raise InputError(
            f"label {unknown!r} is not one of {list(labels)}", mend="write the labels anew with xpoll vote"
        )
    if len(counts) == 1:
        (only,) = counts
        raise InputError(
            f"{_all_of(len(found.rows))} labelled {only!r}, and a student needs at least 2 labels",
            mend="add documents of other labels, or reword task.question and the label descriptions and poll again",
        )
    return found


def divided(consensus: Sequence[Any], answer: Callable[[Any], Any], gold: Callable[[Any], Any]) -> TrainingRows:
    """The rows of the train split, by whether they can be trained on.

    Args:
        consensus: Rows of labels.parquet.
        answer: What the votes say of a row; None where they abstain.
        gold: What people say of it; None where nobody does.

    Raises:
        InputError: no row was decided.
    """
    known = {text_digest(row.text) for row in consensus if row.split == "gold" and gold(row) is not None}
    measured_on: list[Any] = []
    train: list[Any] = []
    for row in consensus:
        if row.split == "train":
            (measured_on if known and text_digest(row.text) in known else train).append(row)
    decided = [row for row in train if answer(row) is not None]
    if not decided:
        raise _nothing_decided(train, measured_on)
    return TrainingRows(decided, [row for row in train if answer(row) is None], measured_on)


def _nothing_decided(train: Sequence[Any], measured_on: Sequence[Any]) -> InputError:
    if measured_on and not train:
        return InputError(
            f"all {len(measured_on)} documents are gold rows, too, and these are measured on",
            mend="set documents.path to texts that are not in documents.gold_path",
        )
    unread = sum(row.abstained == NO_READABLE_VOTE for row in train)
    none = f"none of the {len(train)} documents has a label to train on"
    if unread == len(train):
        why = "votes.parquet says why of each answer, in the column unparsable"
        return InputError(f"{none}: no answer about any of them could be read", mend=why)
    return InputError(
        f"{none}: the panel was torn about {len(train) - unread}, and of {unread} no answer could be read",
        mend="raise panel.samples or name more panel.personas, then xpoll poll and xpoll vote",
    )


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


def _label(row: Any) -> Hashable:
    found: Hashable = row.label
    return found


def split(rows: Sequence[Any], *, share: float, seed: int, stratum: Callable[[Any], Hashable] = _label) -> HeldOut:
    """Draws `share` of the texts of each label; none if that would be fewer than FEWEST_HELD_OUT in all.

    A label keeps more texts than it gives: one that has a single text gives none. Rows of the same text are on one
    side, because a student is not to be judged by a text that it was trained on; those of several labels are kept.

    Args:
        rows: Voted documents.
        share: Of the texts, 0 to 1.
        seed: Of the draw.
        stratum: What rows are drawn from alike, their label in place of any other.
    """
    first = first_of_same(row.text for row in rows)
    copies: dict[int, list[int]] = defaultdict(list)
    for number, same in enumerate(first):
        copies[same].append(number)
    by_label: dict[Hashable, list[int]] = {}
    for number, group in copies.items():
        if len({stratum(rows[copy]) for copy in group}) == 1:
            by_label.setdefault(stratum(rows[number]), []).append(number)
    draw = random.Random(f"held out {seed}")
    drawn: set[int] = set()
    for _, numbers in sorted(by_label.items(), key=lambda item: str(item[0])):
        drawn.update(draw.sample(numbers, min(round(share * len(numbers)), (len(numbers) - 1) // 2)))
    if len(drawn) < FEWEST_HELD_OUT:
        drawn = set()
    held_out = [number for number in range(len(rows)) if first[number] in drawn]
    return HeldOut([number for number in range(len(rows)) if first[number] not in drawn], held_out)
