"""Labels texts with a student.

Reads a student folder and a CSV, JSONL or Parquet file of any size. Writes one file with every input
row in order, plus what the student says (outputs.py) and error. A row that cannot be read or has no
text gets no answer and says why in `error`.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from xpoll.core.errors import InputError
from xpoll.core.files import replacing
from xpoll.core.pairs import joined
from xpoll.core.progress import Progress, Waiting
from xpoll.core.tables.readers import Row, column_types, count_rows, stream_rows
from xpoll.student.drift import DriftMonitor
from xpoll.student.heads.registry import head_in
from xpoll.student.inference.cascade import SecondOpinions, second_opinion
from xpoll.student.inference.model import StudentModel
from xpoll.student.inference.outputs import WRITERS, AnsweredRow, Columns, ResultRow
from xpoll.student.inference.resumable import Kept


class Written(NamedTuple):
    """What was written: rows, how many of them have no label, and why the first of these has none."""

    rows: int
    without_label: int
    first_problem: str | None


class _Survey(NamedTuple):
    """What a file holds: every column that a row of it has, and the number of rows."""

    columns: list[str]
    num_rows: int


def predict_file(
    student: Path,
    source: str,
    output: Path,
    *,
    text_column: str,
    text_pair_column: str | None = None,
    batch_rows: int = 1024,
    runtime: str = "pytorch",
    device: str | None = None,
    opinions: SecondOpinions | None = None,
    drift: DriftMonitor | None = None,
) -> Written:
    """Labels every row of `source`; memory does not grow with their number.

    What was computed is kept beside the output until that is written, so a call that was killed resumes.

    Args:
        student: Student folder.
        source: CSV, JSONL or Parquet file, local or a URI.
        output: File to write, whole or not at all; its suffix says which kind.
        text_column: Column that holds the text.
        text_pair_column: Column that holds the second text, of a student of pairs.
        batch_rows: How many rows are held at a time.
        runtime: pytorch, onnx, or one of openvino_runtime.RUNTIMES.
        device: What computes, as the runtime calls it; without it what StudentModel takes.
        opinions: Of the panel, which stand in place of the student's; a column answered_by then says whose
            each answer is.
        drift: Is given the student's answers, batch by batch.

    Returns:
        What was written; as many rows as were read.

    Raises:
        InputError: the output's suffix is unknown, the source cannot be read, or a second text is lacking or too much.
        ModelError: the student folder holds no student.
        RunFolderError: the output cannot be written.
    """
    check_output(source, output)
    survey = _survey(source, text_column)
    model = head_in(student).load(student, runtime=runtime, device=device)
    check_pairs(model, text_pair_column)
    kept = Kept(output, student, runtime)
    columns = Columns(source, survey.columns, model.columns, ["answered_by"] if opinions else [])
    written = unlabelled = 0
    first_problem = None
    with (
        replacing(output) as temporary,
        WRITERS[_kind(output)](temporary, columns) as write,
        Progress("predicting", total=survey.num_rows, unit="rows") as progress,
    ):
        for batch in _batches(source, text_column, batch_rows):
            rows = predicted(model, batch, text_column, kept, pair=text_pair_column)
            if drift is not None:
                drift.take([row.label for row in rows], [row.confidence for row in rows])
            if opinions is not None:
                rows = [second_opinion(row, opinions.of(written + i), model.labels) for i, row in enumerate(rows)]
            write(rows)
            for number, row in enumerate(rows, written):
                if row.error is not None:
                    unlabelled += 1
                    first_problem = first_problem or f"row {number}: {row.error}"
            written += len(batch)
            progress.add(len(batch), note=f"{kept.found} batches of an earlier call" if kept.found else "")
    kept.remove()
    return Written(written, unlabelled, first_problem)


def unsure_rows(
    model: StudentModel,
    student: Path,
    source: str,
    output: Path,
    *,
    text_column: str,
    threshold: float,
    batch_rows: int = 1024,
    runtime: str = "pytorch",
) -> Iterator[tuple[int, str]]:
    """Number and text of each row that the student is less sure of than `threshold`, in order.

    What it computes is kept for a later `predict_file` with the same arguments.
    """
    kept, number = Kept(output, student, runtime), 0
    for batch in _batches(source, text_column, batch_rows):
        for row in predicted(model, batch, text_column, kept):
            if row.confidence is not None and row.confidence < threshold:
                yield number, row.values[text_column]
            number += 1


def check_output(source: str, output: Path) -> None:
    """Finds out before any work whether `output` can be made of `source`.

    Raises:
        InputError: its suffix is unknown, or it is the source itself.
    """
    if _kind(output) not in WRITERS:
        raise InputError(
            f"output {output} is no {', '.join(sorted(WRITERS))} file", mend="give it one of these suffixes"
        )
    if Path(source).resolve() == output.resolve():
        raise InputError(f"output {output} is the input file itself", mend="name another output")


def _kind(output: Path) -> str:
    return output.suffix.lower().removeprefix(".")


def _batches(source: str, text_column: str, batch_rows: int) -> Iterator[list[Row]]:
    rows = stream_rows(source, key="input", needs=(text_column,))
    while batch := list(islice(rows, batch_rows)):
        yield batch


def _survey(source: str, text_column: str) -> _Survey:
    """Reads the source once ahead if it does not name its columns: a JSONL key that first comes late has one too."""
    rows = stream_rows(source, key="input", needs=(text_column,))
    if types := column_types(source, key="input"):
        return _Survey(list(types), count_rows(source, key="input"))
    columns: dict[str, None] = {}
    number = 0
    with Waiting(f"counting the rows of {source}", detail=lambda: f"{number} so far"):
        for row in rows:
            columns.update(dict.fromkeys(row.values))
            number += 1
    return _Survey(list(columns), number)


def check_pairs(model: Any, text_pair_column: str | None) -> None:
    """Refuses pairs of texts for a student of single texts, and the other way round.

    Raises:
        InputError: it is such a case.
    """
    wanted = getattr(model, "reads_pairs", False)
    if wanted and text_pair_column is None:
        raise InputError(
            "the student labels pairs of texts", mend="name the column of the second with --text-pair-column"
        )
    if text_pair_column is not None and not wanted:
        raise InputError("the student labels single texts, not pairs", mend="leave --text-pair-column out")


def predicted(
    model: Any, batch: list[Row], text_column: str, kept: Kept | None = None, *, pair: str | None = None
) -> list[Any]:
    """The student's answer to each row; a row without a usable text says why it has none.

    Args:
        model: The student.
        batch: Rows of a file, or made of texts.
        text_column: Where the text is.
        kept: What earlier calls have computed, for calls that may be killed.
        pair: Where the second text is, of a student of pairs.
    """
    errors = [_problem(row, text_column) or (_problem(row, pair) if pair else None) for row in batch]
    good = [
        joined(row.values[text_column], row.values[pair]) if pair else row.values[text_column]
        for row, error in zip(batch, errors, strict=True)
        if error is None
    ]
    values = [row.values for row, error in zip(batch, errors, strict=True) if error is None]
    computed = kept.computed(good, model.compute) if kept else model.compute(good)
    answered = iter(model.rows(values, good, computed))
    return [
        next(answered) if error is None else _unanswered(model, row.values, error)
        for row, error in zip(batch, errors, strict=True)
    ]


def _unanswered(model: Any, values: dict[str, Any], error: str) -> ResultRow | AnsweredRow:
    if isinstance(model, StudentModel):
        return ResultRow(values, None, None, [None] * len(model.labels), error)
    return AnsweredRow(values, [None] * len(model.columns), error)


def _problem(row: Row, text_column: str) -> str | None:
    if row.problem is not None:
        return row.problem
    text: Any = row.values.get(text_column)
    if text is None:
        return f"column {text_column!r} is missing"
    if not isinstance(text, str):
        return f"column {text_column!r} is no text but {type(text).__name__}"
    return None if text.strip() else f"column {text_column!r} is empty"
