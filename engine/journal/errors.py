"""The error rows among the answers of a run, counted by kind; reads two columns and few rows."""

from pathlib import Path

import pyarrow as pa

from xpoll.core.error_kinds import ErrorCounts
from xpoll.engine.journal.answers import read_batches

_COLUMNS = ["document_id", "error_kind", "error"]


def errors_in(completions: Path) -> ErrorCounts:
    """How many of a run's answers are errors, of what kind, and the first row of each kind.

    Args:
        completions: Folder of the answers.
    """
    found = ErrorCounts()
    for batch in read_batches(completions, _COLUMNS):
        _add(found, batch)
    return found


def _add(found: ErrorCounts, batch: pa.RecordBatch) -> None:
    kinds = batch["error_kind"]
    if kinds.null_count == batch.num_rows:
        found.add({}, {}, batch.num_rows)
        return
    counts = {each["values"]: each["counts"] for each in kinds.value_counts().to_pylist() if each["values"] is not None}
    new = [kind for kind in counts if kind not in found.first]
    listed = kinds.to_pylist() if new else []
    first = {}
    for kind in new:
        row = listed.index(kind)
        first[kind] = (batch["document_id"][row].as_py(), batch["error"][row].as_py() or "")
    found.add(counts, first, batch.num_rows)
