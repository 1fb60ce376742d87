"""The texts to label, streamed from their files; train rows first, then gold rows.

A run reads them once: `read_inputs` checks them and copies them to documents.parquet, which everything later reads.
"""

import json
from array import array
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from xpoll.core.config.job import DocumentsConfig
from xpoll.core.config.synthesis import SYNTHESIZED
from xpoll.core.config.task import SEPARATOR
from xpoll.core.errors import InputError
from xpoll.core.pairs import joined
from xpoll.core.record_files import CHARACTERS_PER_GROUP, stream_records
from xpoll.core.records import DOCUMENT_SCHEMA, Document, Split, to_table
from xpoll.core.sameness import named, same_label, text_digest
from xpoll.core.tables.readers import Row, stream_rows
from xpoll.personas.probes import RESERVED, is_probe

NUM_FIRST = 256
FIRST_CHARACTERS = 2**23  # among the first documents, behind which there are no more of them
ROWS_PER_GROUP = 4096


class Gold(NamedTuple):
    """What a cell of the gold file says, as `Document.gold_label` holds it, or the `problem` with it."""

    label: str | None
    problem: str | None = None


GoldReader = Callable[[Any, str, list[str]], Gold]
"""From the cell of a gold label, the text, and the task's labels to what the cell says."""


def labels_in_cell(named_in: Callable[[Any], Sequence[Any]]) -> GoldReader:
    """A reader of cells that name labels.

    Args:
        named_in: From a cell to the labels that it names; one that is none of the task's is a problem of the row.
    """

    def read(cell: Any, _text: str, labels: list[str]) -> Gold:
        cells = named_in(cell)
        found = [same_label(_whole(each), labels) for each in cells]
        if None in found:
            return Gold(None, f"gold label {cells[found.index(None)]!r} is not one of {named(labels)}")
        return Gold(SEPARATOR.join(label for label in labels if label in found))

    return read


def the_cell(cell: Any) -> list[Any]:
    """The label in a cell that holds one."""
    return [cell]


def several_gold_labels(cell: Any) -> list[Any]:
    """The labels in a cell that holds a list, also as JSON, or words with `core.task.SEPARATOR` between them."""
    if isinstance(cell, str) and cell.lstrip().startswith("["):
        try:
            cell = json.loads(cell)
        except (ValueError, RecursionError):
            return [cell]
    if isinstance(cell, str):
        return [label for label in cell.split(SEPARATOR) if label.strip()]
    return list(cell) if isinstance(cell, list | tuple) else [] if cell is None else [cell]


one_gold_label = labels_in_cell(the_cell)
"""Of a task of one label per text."""


def stream_documents(
    config: DocumentsConfig,
    labels: list[str],
    *,
    read_gold: GoldReader = one_gold_label,
    example_texts: Collection[str] = (),
) -> Iterator[Document]:
    """Every row of the documents file, then of the gold file, in order.

    A row without a usable text comes out with a problem instead, and so does a gold row that could not be scored: its
    label is not one of `labels`, which are compared as those of answers are, or its text is an example of the prompts.

    Args:
        config: The documents section.
        labels: The task's labels.
        read_gold: What a cell of the label column says; the kind of task decides.
        example_texts: Texts whose labels every prompt shows.

    Raises:
        InputError: a file is missing, empty, or lacks a column.
    """
    shown = set(map(text_digest, example_texts))
    own = _of_synthesized(config)
    rows = stream_rows(own.path, key="documents.path", needs=(own.text_column, *_named(own)))
    unreadable: set[str] = set()
    for row in islice(rows, own.limit):
        yield _told_apart(_document(row, own, "train", labels), row, unreadable)
    if config.gold_path:
        needs = (config.text_column, config.label_column, *_named(config))
        for row in stream_rows(config.gold_path, key="documents.gold_path", needs=needs):
            document = _told_apart(_document(row, config, "gold", labels, read_gold), row, unreadable)
            if document.problem is None and shown and text_digest(document.text) in shown:
                problem = "its text is one of task.examples, so every prompt shows its label"
                document = document._replace(gold_label=None, problem=problem)
            yield document


def _named(config: DocumentsConfig) -> tuple[str, ...]:
    return tuple(column for column in (config.id_column, config.text_pair_column) if column)


def _of_synthesized(config: DocumentsConfig) -> DocumentsConfig:
    """The section as it is read for `path`: synthesized texts have a text and an id, whatever gold rows have."""
    if PurePath(config.path).name != SYNTHESIZED:
        return config
    return config.model_copy(update={"text_column": "text", "text_pair_column": None, "id_column": "id"})


def _told_apart(document: Document, row: Row, unreadable: set[str]) -> Document:
    """The document; a row that cannot be read may show another one's id, and is then called by its number."""
    if row.problem is None or document.document_id not in unreadable:
        unreadable.update({document.document_id} if row.problem else ())
        return document
    return document._replace(document_id=f"{document.split}-row-{row.number}")


def _document(
    row: Row, config: DocumentsConfig, split: Split, labels: list[str], read_gold: GoldReader = one_gold_label
) -> Document:
    text, problem, gold_label = row.values.get(config.text_column), row.problem, None
    second = row.values.get(config.text_pair_column) if config.text_pair_column else None
    if config.text_pair_column and (not isinstance(second, str) or not second.strip()):
        problem = problem or f"column {config.text_pair_column!r} holds no text"
    if config.id_column and row.values.get(config.id_column) in (None, ""):
        problem = problem or f"column {config.id_column!r} is empty"
    document_id = _document_id(row, config, split)
    if not isinstance(text, str) or not text.strip():
        problem = problem or f"column {config.text_column!r} holds no text"
    elif isinstance(second, str):
        text = joined(text, second)
    if split == "gold":
        gold = read_gold(row.values.get(config.label_column), text if isinstance(text, str) else "", labels)
        problem = problem or gold.problem
        gold_label = gold.label if problem is None else None
    return Document(document_id, text if isinstance(text, str) else "", split, gold_label, problem)


def groups_of(config: DocumentsConfig, column: str) -> dict[str, str]:
    """Document id to its value in a column of the input, of the documents file and the gold file; "" where it has none.

    Args:
        config: The documents section.
        column: Name of a column that both files have.

    Raises:
        InputError: a file is missing, or lacks the column.
    """
    found: dict[str, str] = {}
    for path, key, split, most in (
        (config.path, "documents.path", "train", config.limit),
        (config.gold_path, "documents.gold_path", "gold", None),
    ):
        if path is None:
            continue
        own = _of_synthesized(config) if split == "train" else config
        for row in islice(stream_rows(path, key=key, needs=(column,)), most):
            value = row.values.get(column)
            found[_document_id(row, own, split)] = "" if value is None else str(value)
    return found


def _document_id(row: Row, config: DocumentsConfig, split: str) -> str:
    given = row.values.get(config.id_column) if config.id_column else None
    number = f"{row.number}" if split == "train" else f"gold-{row.number}"
    return number if given is None or given == "" else str(given)


def _whole(cell: Any) -> Any:
    """The cell; a number of a column with gaps, which is kept as 3.0 for 3, as it was written."""
    return int(cell) if isinstance(cell, float) and cell.is_integer() else cell


class Unusable(NamedTuple):
    """Rows with a problem: how many, and the first one with its problem, empty if there is none."""

    rows: int = 0
    first: str = ""

    def and_row(self, document: Document) -> "Unusable":
        """With one row more."""
        return Unusable(self.rows + 1, self.first or f"row {document.document_id!r}: {document.problem}")


class Inputs(NamedTuple):
    """What a run's files hold.

    Attributes:
        rows: Number of rows of each split.
        unusable: Of each split; train rows become error rows, gold rows are not scored.
        gold_in_train: Train rows whose text is that of a gold row; they are polled and not trained on.
        first: The first rows that can be asked about, at most `NUM_FIRST`, fewer long ones; a plan looks at these.
        changed: Whether this differs from what the run folder held: rows have joined, or gold labels were corrected.
    """

    rows: dict[str, int]
    unusable: dict[str, Unusable]
    gold_in_train: int
    first: tuple[Document, ...]
    changed: bool

    @property
    def documents(self) -> int:
        """Number of rows of all splits."""
        return sum(self.rows.values())

    def notes(self) -> list[str]:
        """A line for each kind of row that is not used as its file says."""
        said = {"train": "documents cannot be asked about", "gold": "gold rows are not scored"}
        lines = [
            f"{found.rows} of {self.rows[split]} {said[split]}; the first: {found.first}"
            for split, found in self.unusable.items()
            if found.rows
        ]
        if self.gold_in_train:
            lines.append(f"{self.gold_in_train} documents are gold rows, too: they are polled and not trained on")
        return lines


def read_inputs(
    config: DocumentsConfig,
    labels: list[str],
    *,
    read_gold: GoldReader = one_gold_label,
    example_texts: Collection[str] = (),
    polled: Path | None = None,
    copy: Path | None = None,
) -> Inputs:
    """Reads all documents once, checks them, and copies them to a Parquet file of `DOCUMENT_SCHEMA`.

    Args:
        config: The documents section.
        labels: The task's labels.
        read_gold: As of `stream_documents`.
        example_texts: As of `stream_documents`.
        polled: Copy that an earlier poll asked about; rows may only have been added at the end of each split.
        copy: File to write; none is written without it.

    Raises:
        InputError: two rows have the same id, or one that is kept for probes; a file cannot be used or none of its rows
            can be, or rows that were polled have changed.
    """
    rows: dict[str, int] = {"train": 0, "gold": 0}
    unusable = {"train": Unusable(), "gold": Unusable()}
    first: list[Document] = []
    shown = 0
    ids = array("q")  # eight bytes per document: ten million ids fit into 80 MB
    texts = {"train": array("q"), "gold": array("q")}
    comparison = _Comparison(config, polled)
    with _writer(copy) as write:
        for document in stream_documents(config, labels, read_gold=read_gold, example_texts=example_texts):
            rows[document.split] += 1
            if is_probe(document.document_id):
                raise InputError(
                    f"documents: the id {document.document_id!r} begins with {RESERVED}, which is for probes",
                    mend="give the row another id, or leave documents.id_column out",
                )
            ids.append(hash(document.document_id))
            if document.problem is not None:
                unusable[document.split] = unusable[document.split].and_row(document)
            elif config.gold_path:
                texts[document.split].append(text_digest(document.text))
            if document.problem is None and len(first) < NUM_FIRST and shown < FIRST_CHARACTERS:
                first.append(document)
                shown += len(document.text)
            comparison.take(document)
            write(document)
    if twice := _twice(ids):
        _refuse_duplicates(config, labels, twice)
    comparison.finish()
    for split, key in (("train", "path"), ("gold", "gold_path")):
        if rows[split] and unusable[split].rows == rows[split]:
            raise InputError(
                f"documents.{key}: none of the {rows[split]} rows of {getattr(config, key)} can be used; "
                f"{unusable[split].first}",
                mend="correct the file, or the [documents] columns and task.labels that it is read with",
            )
    return Inputs(rows, unusable, _common(texts["train"], texts["gold"]), tuple(first), comparison.changed)


class _Comparison:
    """Holds documents against those of an earlier poll, split by split, in the order of the files."""

    def __init__(self, config: DocumentsConfig, polled: Path | None) -> None:
        self.changed = polled is None
        self._config, self._polled = config, polled
        self._before = {split: self._of(split) for split in ("train", "gold")}

    def _of(self, split: str) -> Iterator[Document]:
        if self._polled is None:
            return iter(())
        return (document for document in stream_records(self._polled, Document) if document.split == split)

    def take(self, document: Document) -> None:
        before = next(self._before[document.split], None)
        if before is not None and before[:2] != document[:2]:
            self._refuse(document.split)
        self.changed |= before != document

    def finish(self) -> None:
        for split, left in self._before.items():
            if next(left, None) is not None:
                self._refuse(split)

    def _refuse(self, split: str) -> None:
        number = sum(1 for _ in self._of(split))
        key, path = ("gold_path", self._config.gold_path) if split == "gold" else ("path", self._config.path)
        raise InputError(
            f"documents.{key}: the first {number} rows of {path} are not the ones that were polled",
            mend="set job.run_folder to another folder; only rows added at the end can join a poll",
        )


@contextmanager
def _writer(copy: Path | None) -> Iterator[Callable[[Document], None]]:
    """A function that writes one document; what it was given is in the file when the block ends."""
    if copy is None:
        yield lambda _: None
        return
    batch: list[Document] = []
    characters = 0
    with pq.ParquetWriter(copy, DOCUMENT_SCHEMA, compression="zstd", write_page_checksum=True) as file:

        def write(document: Document) -> None:
            nonlocal characters
            batch.append(document)
            characters += len(document.text)
            if len(batch) == ROWS_PER_GROUP or characters > CHARACTERS_PER_GROUP:
                flush()

        def flush() -> None:
            nonlocal characters
            file.write_table(to_table(batch, DOCUMENT_SCHEMA))
            batch.clear()
            characters = 0

        yield write
        flush()


def _common(hashes: "array[int]", of_others: "array[int]") -> int:
    """How many of the first are among the second, too."""
    return int(np.isin(np.array(hashes, np.int64), np.array(of_others, np.int64)).sum())


def _twice(hashes: "array[int]") -> set[int]:
    ordered = np.sort(np.frombuffer(hashes, dtype=np.int64))
    return set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())


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
