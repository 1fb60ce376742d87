"""Streams the documents to label from their files: train rows first, then gold rows."""

from array import array
from collections.abc import Iterator
from hashlib import blake2b
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from xpoll.core.config import DocumentsConfig
from xpoll.core.errors import InputError
from xpoll.core.records import Document, Split
from xpoll.core.tables.readers import Row, stream_rows
from xpoll.core.task import SEPARATOR


def stream_documents(config: DocumentsConfig, labels: list[str], *, several: bool = False) -> Iterator[Document]:
    """Every row of the documents file, then of the gold file, in order.

    A row without a usable text has a problem instead, and so has a gold row whose label is not one of
    `labels`, because it could not be scored.

    Args:
        config: The documents section.
        labels: The task's labels.
        several: Whether a document can have several labels: the label column then holds a list, or labels with
            `core.task.SEPARATOR` between them; an empty cell is no label.

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
            yield _document(row, config, "gold", labels, several)


def _document(row: Row, config: DocumentsConfig, split: Split, labels: list[str], several: bool = False) -> Document:
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
        given = row.values.get(config.label_column)
        named = _several(given) if several else [given]
        if unknown := [label for label in named if label not in labels]:
            problem = problem or f"gold label {unknown[0]!r} is not one of {labels}"
        else:
            gold_label = SEPARATOR.join(label for label in labels if label in named)
    return Document(document_id, text if isinstance(text, str) else "", split, gold_label, problem)


def _several(given: Any) -> list[Any]:
    """The labels in a cell: a list, or one word with separators."""
    if isinstance(given, str):
        return [label.strip() for label in given.split(SEPARATOR)] if given.strip() else []
    return list(given) if isinstance(given, list | tuple) else [] if given is None else [given]


class Inputs(NamedTuple):
    """The input files of a run, as far as its answers depend on them.

    Attributes:
        rows: Number of rows of each split.
        texts: Digest of each split's ids and texts, in the order of the rows.
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
        """The attributes by name, for plan.json."""
        return self._asdict()


def check_documents(
    config: DocumentsConfig, labels: list[str], polled: Inputs | None = None, *, several: bool = False
) -> Inputs:
    """Reads all documents once and returns their numbers and digests.

    Args:
        config: The documents section.
        labels: The task's labels.
        polled: Those of an earlier poll into the same folder; rows may only have been appended since.
        several: Whether a document can have several labels.

    Raises:
        InputError: two rows have the same id, a file cannot be used, or rows that were polled have changed.
    """
    rows: dict[str, int] = {"train": 0, "gold": 0}
    texts = {split: blake2b(digest_size=16) for split in rows}
    gold_labels = blake2b(digest_size=16)
    hashes = array("q")  # 8 bytes per document: ten million ids fit into 80 MB
    for document in stream_documents(config, labels, several=several):
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


def _refuse_duplicates(config: DocumentsConfig, labels: list[str], hashes: set[int]) -> None:
    seen: set[str] = set()
    for document in stream_documents(config, labels):
        if hash(document.document_id) in hashes:
            if document.document_id in seen:
                raise InputError(
                    f"documents: two rows have the id {document.document_id!r}",
                    mend="give each row its own id, or leave documents.id_column out",
                )
            seen.add(document.document_id)
