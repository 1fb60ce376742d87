"""`xpoll predict STUDENT --cascade RUN`: the student answers what it is sure of, the run's panel the rest.

Reads a student, and a run folder with gold rows: its config and labels.parquet. Beside OUTPUT it makes
OUTPUT.cascade/ with the unsure rows and the run that polls the panel about them; both go on after a kill.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.config import Config
from core.config_file import load_config
from core.errors import InputError, ModelError
from core.files import replacing
from core.records import Consensus, from_table
from core.run_folder import RunFolder, open_run_folder
from scripts.export import student_folder
from scripts.planning import check_inputs
from scripts.run_state import is_done
from scripts.steps import RUN
from student.cascade import SecondOpinions, Threshold, chosen_threshold

UNSURE = pa.schema([("row", pa.string()), ("text", pa.string())])


def predict_with_panel(parsed: argparse.Namespace) -> int:
    """Labels a file with student and panel, and says what each did and costs.

    Raises:
        InputError: the run has no gold rows to choose the threshold by.
        ModelError: the student's labels are not the run's.
    """
    from student.model import StudentModel
    from student.predict import check_output, predict_file, unsure_rows

    check_output(parsed.input, parsed.output)
    folder = RunFolder(parsed.cascade)
    student = student_folder(parsed.student)
    config = load_config(folder.path, [])
    model = StudentModel(student, runtime=parsed.runtime, device=parsed.device)
    if model.labels != list(config.task.labels):
        raise ModelError(
            f"the student {student} tells {model.labels} apart, the panel of {folder.path} {list(config.task.labels)}",
            mend="name the run that the student is of",
        )
    chosen = _threshold(folder, model, parsed.target)
    beside = parsed.output.with_name(f"{parsed.output.name}.cascade")
    unsure = beside / "unsure.parquet"
    rows = unsure_rows(
        model,
        student,
        parsed.input,
        parsed.output,
        text_column=parsed.text_column,
        threshold=chosen.threshold,
        runtime=parsed.runtime,
    )
    asked = _write_unsure(unsure, rows)
    consensus = _panel(config, unsure, beside / "run") if asked else iter(())
    total = predict_file(
        student,
        parsed.input,
        parsed.output,
        text_column=parsed.text_column,
        runtime=parsed.runtime,
        device=parsed.device,
        opinions=SecondOpinions(consensus),
    )
    result = {"rows": total, "by_panel": asked, "output": str(parsed.output), "gold": chosen._asdict()}
    print(json.dumps(result) if parsed.json else _told(result, chosen, parsed.target, _panel_s(folder)))
    return 0


def _threshold(folder: RunFolder, model: Any, target: float) -> Threshold:
    consensus = from_table(pq.read_table(folder.require(folder.labels, step="vote")), Consensus)
    gold = [row for row in consensus if row.split == "gold" and row.gold_label is not None]
    if not gold:
        raise InputError(
            f"{folder.path} has no gold rows, so no threshold can be chosen",
            mend="set documents.gold_path and run the job into a new folder",
        )
    shares = model.probabilities([row.text for row in gold])
    return chosen_threshold(
        [model.labels[best] for best in shares.argmax(1)],
        shares.max(1).tolist(),
        [row.label for row in gold],
        [str(row.gold_label) for row in gold],
        target=target,
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
    inputs = check_inputs(asking)
    folder = open_run_folder(asking)
    for name in ("poll", "vote"):
        if not is_done(name, folder, inputs):
            RUN[name](asking, folder)
    table = pq.ParquetFile(folder.labels)
    for batch in table.iter_batches(10_000):
        yield from from_table(pa.Table.from_batches([batch]), Consensus)


def _panel_s(folder: RunFolder) -> float | None:
    """Seconds that the panel took for a text in the run, without its start."""
    from benchmarks.metrics import collect_metrics
    from core.config import Report

    rate = collect_metrics(folder, Report())["engine"]["documents_per_s"]
    return 1 / rate if rate else None


def _told(result: dict[str, Any], chosen: Threshold, target: float, panel_s: float | None) -> str:
    share = result["by_panel"] / result["rows"] if result["rows"] else 0.0
    lines = [
        f"predict: wrote {result['rows']} rows to {result['output']}",
        f"the panel answered {result['by_panel']} of them ({100 * share:.1f} %)",
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
    if panel_s is not None:
        saved = (result["rows"] - result["by_panel"]) * panel_s / 3600
        lines.append(f"the panel took {panel_s:.2f} s a text in the run: about {saved:.2f} h of it were not needed")
    return "\n".join(lines)
