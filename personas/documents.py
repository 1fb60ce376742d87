"""The texts to label, streamed from their files; train rows first, then gold rows."""

from array import array
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from xpoll.core.config import DocumentsConfig
from xpoll.core.errors import InputError
from xpoll.core.records import Document, Split
from xpoll.core.tables.readers import Row, stream_rows
from xpoll.core.task import SEPARATOR

GoldReader = Callable[[Any], Sequence[Any]]
"""From the cell of a gold label to the labels that it names; what is not one of the task's is a problem of the row."""


def one_gold_label(cell: Any) -> list[Any]:
    """The label in a cell that holds one."""
    return [cell]


def several_gold_labels(cell: Any) -> list[Any]:
    """The labels in a cell that holds a list, or one word with `core.task.SEPARATOR` between them; none if empty."""
    if isinstance(cell, str):
        return [label.strip() for label in cell.split(SEPARATOR)] if cell.strip() else []
    return list(cell) if isinstance(cell, list | tuple) else [] if cell is None else [cell]


def stream_documents(
    config: DocumentsConfig, labels: list[str], *, read_gold: GoldReader = one_gold_label
) -> Iterator[Document]:
    """Every row of the documents file, then of the gold file, in order.

    A row without a usable text comes out with a problem instead; a gold row whose label is not one of
    `labels` too, since it could not be scored.

    Args:
        config: The documents section.
        labels: The task's labels.
        read_gold: Which labels a cell of the label column names; the kind of task decides.

    Raises:
        InputError: a file is missing, empty, or lacks a column.
    """
    named = (config.id_column,) if config.id_column else ()
    rows = stream_rows(config.path, key="documents.path", needs=(config.text_column, *named))
    for row in islice(rows, config.limit):
        yield _document(row, config, "train", labels)
    if config.gold_path:
        needs = (config.text_column, config.label_column, *named)
        for row in stream_rows(config.gold_path, key="documents.gold_path", needs=needs):
            yield _document(row, config, "gold", labels, read_gold)


def _document(
    row: Row, config: DocumentsConfig, split: Split, labels: list[str], read_gold: GoldReader = one_gold_label
) -> Document:
    number = f"{row.number}" if split == "train" else f"gold-{row.number}"
    text, problem, gold_label = row.values.get(config.text_column), row.problem, None
    document_id = number
    if config.id_column:
        given = row.values.get(config.id_column)
        if given is None or given == "":
            problem = problem or f"column {config.id_column!r} is empty"
        else:
            document_id = str(given)
    if not isinstance(text, str) or not text.strip():
        problem = problem or f"column {config.text_column!r} holds no text"
    if split == "gold":
        named = read_gold(row.values.get(config.label_column))
        if unknown := [label for label in named if label not in labels]:
            problem = problem or f"gold label {unknown[0]!r} is not one of {labels}"
        else:
            gold_label = SEPARATOR.join(label for label in labels if label in named)
    return Document(document_id, text if isinstance(text, str) else "", split, gold_label, problem)


class Inputs(NamedTuple):
    """What a run's files hold, as far as its answers depend on it.

    Attributes:
        rows: Number of rows of each split.
        texts: Digest of each split's ids and texts, row by row.
        gold_labels: Digest of the gold labels.
    """

    rows: dict[str, int]
    texts: dict[str, str]
    gold_labels: str

    @property
    def documents(self) -> int:
        """Number of rows of all splits."""
        return sum(self.rows.values())

    def as_json(self) -> dict[str, Any]:
        return self._asdict()


def check_documents(
    config: DocumentsConfig,
    labels: list[str],
    polled: Inputs | None = None,
    *,
    read_gold: GoldReader = one_gold_label,
) -> Inputs:
    """Reads all documents once; returns what they are.

    Args:
        config: The documents section.
        labels: The task's labels.
        polled: What an earlier poll into the same folder asked about; rows may only have been added behind it.
        read_gold: As of `stream_documents`.

    Raises:
        InputError: two rows have the same id, a file cannot be used, or rows that were polled have changed.
    """
    rows: dict[str, int] = {"train": 0, "gold": 0}
    texts = {split: blake2b(digest_size=16) for split in rows}
    gold_labels = blake2b(digest_size=16)
    hashes = array("q")  # eight bytes a document: ten million ids fit into 80 MB
    for document in stream_documents(config, labels, read_gold=read_gold):
        split = document.split
        rows[split] += 1
        hashes.append(hash(document.document_id))
        texts[split].update(f"{document.document_id}\x1f{document.text}\x1e".encode("utf-8", "surrogatepass"))
        gold_labels.update(f"{document.gold_label}\x1e".encode())
        if polled is not None and rows[split] == polled.rows[split] and texts[split].hexdigest() != polled.texts[split]:
            _refuse_change(config, split, polled)
    values = np.frombuffer(hashes, dtype=np.int64)
    ordered = np.sort(values)
    twice = set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
    if twice:
        _refuse_duplicates(config, labels, twice)
    for name, number in rows.items():
        if polled is not None and number < polled.rows[name]:
            _refuse_change(config, name, polled)
    return Inputs(rows, {name: digest.hexdigest() for name, digest in texts.items()}, gold_labels.hexdigest())


def _refuse_change(config: DocumentsConfig, split: str, polled: Inputs) -> None:
    key, path = ("gold_path", config.gold_path) if split == "gold" else ("path", config.path)
    raise InputError(
        f"documents.{key}: the first {polled.rows[split]} rows of {path} are not the ones that were polled",
        mend="set job.run_folder to another folder; only rows added at the end can join a poll",
    )


def _refuse_duplicates(config: DocumentsConfig, labels: list[str], suspects: set[int]) -> None:
    seen: set[str] = set()
    for document in stream_documents(config, labels):
        if hash(document.document_id) in suspects:
            if document.document_id in seen:
                raise InputError(
                    f"documents: two rows have the id {document.document_id!r}",
                    mend="give each row its own id, or leave documents.id_column out",
                )
            seen.add(document.document_id)
