"""`xpoll predict STUDENT --cascade RUN`: the student answers what it is sure of, the run's panel the rest.

Reads a student, and a run folder with gold rows: its config and labels.parquet. Beside OUTPUT it makes
OUTPUT.cascade/ with the unsure rows and the run that polls the panel about them; both go on after a kill.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from xpoll.core.config.file import load_config
from xpoll.core.config.job import Config
from xpoll.core.errors import InputError, ModelError
from xpoll.core.files import read_json, replacing
from xpoll.core.records import Consensus, from_table
from xpoll.core.run_folder import RunFolder
from xpoll.pipeline.prepare import prepare
from xpoll.pipeline.state import is_done, remove_after
from xpoll.pipeline.steps import STEPS, require_one_label
from xpoll.student.drift import Drift, DriftMonitor, read_gold_answers
from xpoll.student.inference.cascade import SecondOpinions, Threshold, chosen_threshold
from xpoll.student.wording import drift_line

UNSURE = pa.schema([("row", pa.string()), ("text", pa.string())])


class CascadeResult(NamedTuple):
    """What student and panel did of a file.

    Attributes:
        rows: Rows written.
        by_panel: Rows that the panel answered.
        output: The file.
        chosen: The student's confidence from which on it answers alone, and how both do on the gold rows.
        target: Accuracy that the student was to reach alone, 0 to 1.
        panel_s: Seconds that the panel took per text in its run, without its start; None where that is not known.
        drift: Whether the file is such as the gold rows; None where the student was not evaluated.
    """

    rows: int
    by_panel: int
    output: Path
    chosen: Threshold
    target: float
    panel_s: float | None
    drift: Drift | None

    def as_json(self) -> dict[str, Any]:
        """For --json."""
        gold, drift = self.chosen._asdict(), self.drift._asdict() if self.drift else None
        rows = {"rows": self.rows, "by_panel": self.by_panel, "output": str(self.output)}
        return {**rows, "gold": gold, "drift": drift}


def predict_with_panel(
    student: Path,
    run: Path,
    source: str,
    output: Path,
    *,
    target: float,
    text_column: str,
    runtime: str,
    device: str | None,
) -> CascadeResult:
    """Labels a file with student and panel.

    Args:
        student: Student folder.
        run: Run folder with gold rows, whose panel is asked.
        source: File to label.
        output: File to write.
        target: Accuracy that the student is to reach alone, 0 to 1.
        text_column: Column that holds the text.
        runtime: What computes the student.
        device: Device of PyTorch or OpenVINO; None for its default.

    Raises:
        InputError: the run has no gold rows to choose the threshold by.
        ModelError: the student's labels are not the run's.
    """
    from xpoll.student.inference.model import StudentModel
    from xpoll.student.inference.predict import check_output, predict_file, unsure_rows

    check_output(source, output)
    folder = RunFolder(run)
    config = load_config(folder.path, [])
    require_one_label(config, "cascade")
    if config.documents.text_pair_column:
        raise InputError("a cascade labels single texts, and those of the run are pairs", mend="leave --cascade out")
    model = StudentModel(student, runtime=runtime, device=device)
    check_labels(student, model.labels, config, folder.path)
    gold = gold_rows(folder)
    chosen = threshold_of(gold, model.labels, model.probabilities([row.text for row in gold]), target)
    answers = read_gold_answers(student)
    monitor = None if answers is None else DriftMonitor(answers)
    beside = output.with_name(f"{output.name}.cascade")
    unsure = beside / "unsure.parquet"
    rows = unsure_rows(
        model, student, source, output, text_column=text_column, threshold=chosen.threshold, runtime=runtime
    )
    asked = _write_unsure(unsure, rows)
    consensus = _panel(config, unsure, beside / "run") if asked else iter(())
    written = predict_file(
        student,
        source,
        output,
        text_column=text_column,
        runtime=runtime,
        device=device,
        opinions=SecondOpinions(consensus),
        drift=monitor,
    )
    drift = None if monitor is None else monitor.found()
    return CascadeResult(written.rows, asked, output, chosen, target, _panel_s(folder), drift)


def gold_rows(folder: RunFolder) -> list[Consensus]:
    """The rows of a run that a threshold is chosen by.

    Raises:
        InputError: there are none.
    """
    table = pq.read_table(folder.require(folder.labels, step="vote"))
    if "label" not in table.column_names:
        raise InputError(f"the texts of {folder.path} do not get one label each, as a cascade needs")
    consensus = from_table(table, Consensus)
    gold = [row for row in consensus if row.split == "gold" and row.gold_label is not None]
    if not gold:
        raise InputError(
            f"{folder.path} has no gold rows, so no threshold can be chosen",
            mend="set documents.gold_path and run the job into a new folder",
        )
    return gold


def threshold_of(gold: Sequence[Consensus], labels: Sequence[str], shares: np.ndarray, target: float) -> Threshold:
    """From which confidence on the student answers.

    Args:
        gold: Gold rows.
        labels: The student's.
        shares: (rows, labels), what the student says of these rows.
        target: Accuracy that the student is to reach alone, 0 to 1.
    """
    return chosen_threshold(
        [labels[best] for best in shares.argmax(1)],
        shares.max(1).tolist(),
        [row.label for row in gold],
        [str(row.gold_label) for row in gold],
        target=target,
    )


def check_labels(student: Path, labels: Sequence[str], config: Config, run: Path) -> None:
    """Refuses a student of other labels than the panel's.

    Raises:
        ModelError: names both label sets.
    """
    if list(labels) != list(config.task.labels):
        raise ModelError(
            f"the student {student} tells {list(labels)} apart, the panel of {run} {list(config.task.labels)}",
            mend="name the run that the student is of",
        )


def _write_unsure(path: Path, rows: Iterator[tuple[int, str]]) -> int:
    """Writes the rows in groups, so that memory does not grow with them; returns how many there are."""
    written = 0
    with replacing(path) as temporary, pq.ParquetWriter(temporary, UNSURE) as file:
        group: list[tuple[int, str]] = []
        for row in rows:
            group.append(row)
            if len(group) == 10_000:
                written += _write_group(file, group)
        written += _write_group(file, group)
    return written


def _write_group(file: Any, group: list[tuple[int, str]]) -> int:
    columns = [[str(number) for number, _ in group], [text for _, text in group]]
    file.write_table(pa.table([pa.array(column, pa.string()) for column in columns], schema=UNSURE))
    written = len(group)
    group.clear()
    return written


def _panel(config: Config, unsure: Path, run: Path) -> Iterator[Consensus]:
    """The panel's answers to the unsure rows, in their order."""
    documents = config.documents.model_copy(
        update={"path": str(unsure), "text_column": "text", "id_column": "row", "gold_path": None, "limit": None}
    )
    job = config.job.model_copy(update={"run_folder": str(run)})
    asking = config.model_copy(update={"documents": documents, "job": job})
    prepared = prepare(asking, whole=True)
    folder = prepared.folder
    if not prepared.is_settled and STEPS["poll"].function(asking, folder):
        remove_after(folder, "poll")
    if not is_done("vote", folder):
        STEPS["vote"].function(asking, folder)
    table = pq.ParquetFile(folder.labels)
    for batch in table.iter_batches(10_000):
        yield from from_table(pa.Table.from_batches([batch]), Consensus)


def _panel_s(folder: RunFolder) -> float | None:
    """Seconds that the panel took per text in the run, without its start; None where the run did not ask itself."""
    engines = [poll.engine for poll in folder.polls().values()]
    if not all(engine.exists() for engine in engines):
        return None
    wall_s = sum(session["wall_s"] for engine in engines for session in read_json(engine)["sessions"])
    return wall_s / pq.read_metadata(folder.labels).num_rows if wall_s else None


def told(result: CascadeResult) -> str:
    """The result in words."""
    chosen, target = result.chosen, result.target
    share = result.by_panel / result.rows if result.rows else 0.0
    lines = [
        f"predict: wrote {result.rows} rows to {result.output}",
        f"the panel answered {result.by_panel} of them ({100 * share:.1f} %)",
        f"on {chosen.gold_rows} gold rows: student alone {100 * chosen.student_accuracy:.1f} %, panel alone "
        f"{100 * chosen.teacher_accuracy:.1f} %, cascade {100 * chosen.cascade_accuracy:.1f} %",
    ]
    if chosen.sure_accuracy is None:
        lines.append(
            f"no confidence of the student is shown to reach {100 * target:.0f} %: the panel answered every row"
        )
    else:
        lines.append(
            f"the student answers from a confidence of {chosen.threshold:.3f}; there it gets "
            f"{100 * chosen.sure_accuracy:.1f} % (at least {100 * (chosen.sure_low or 0):.1f} %)"
        )
    if result.panel_s is not None:
        saved = (result.rows - result.by_panel) * result.panel_s / 3600
        lines.append(f"the panel took {result.panel_s:.2f} s per text in the run: about {saved:.2f} h of it not needed")
    if result.drift is not None and result.drift.alarm is not None:
        lines.append(drift_line(result.drift))
    return "\n".join(lines)
