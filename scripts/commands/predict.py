"""`xpoll predict`: labels a file with a student, or with a student and the panel behind it."""

import argparse
import json
from pathlib import Path

from xpoll.scripts.arguments import add_text_column

RUNTIMES = ["pytorch", "onnx", "openvino", "openvino-int8-weights", "openvino-int8"]


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Student, input, output, and what computes."""
    command.add_argument("student", type=Path, help="student folder, or the run folder that holds it")
    command.add_argument("input", help="CSV, JSONL, Parquet, Arrow or Excel file, a pattern or folder of them")
    command.add_argument("output", type=Path, help="CSV, JSONL or Parquet file to write")
    add_text_column(command)
    command.add_argument("--text-pair-column", help="column that holds the second text, of a student of text pairs")
    command.add_argument("--runtime", default="pytorch", choices=RUNTIMES, help="what computes (default: pytorch)")
    device = "of the runtime, e.g. cpu, xpu:1 (default: all accelerators), or OpenVINO's GPU or MULTI:GPU.0,GPU.1"
    command.add_argument("--device", help=device)
    cascade = "put what the student is unsure of to the panel of this run"
    command.add_argument("--cascade", type=Path, metavar="RUN", help=cascade)
    target = "with --cascade: accuracy the student is to reach alone, 0 to 1"
    command.add_argument("--target", type=float, default=0.9, help=target)


def call(parsed: argparse.Namespace) -> int:
    """Labels the file and says how many rows were written."""
    from xpoll.student.folder import student_folder

    student = student_folder(parsed.student)
    named = {"text_column": parsed.text_column, "runtime": parsed.runtime, "device": parsed.device}
    if parsed.cascade:
        return _with_panel(parsed, student, named)
    from xpoll.student.drift import DriftMonitor, read_gold_answers
    from xpoll.student.inference.predict import predict_file
    from xpoll.student.wording import drift_line

    gold = read_gold_answers(student)
    monitor = None if gold is None else DriftMonitor(gold)
    pair = parsed.text_pair_column
    written = predict_file(student, parsed.input, parsed.output, drift=monitor, text_pair_column=pair, **named)
    drift = None if monitor is None else monitor.found()
    if parsed.json:
        found = {"rows": written.rows, "errors": written.without_label, "output": str(parsed.output)}
        print(json.dumps({**found, "drift": drift._asdict() if drift else None}))
        return 0
    without = f", {written.without_label} of them without a label; {written.first_problem}"
    print(f"predict: wrote {written.rows} rows to {parsed.output}{without if written.without_label else ''}")
    if drift is not None and drift.alarm is not None:
        print(drift_line(drift))
    return 0


def _with_panel(parsed: argparse.Namespace, student: Path, named: dict[str, str]) -> int:
    from xpoll.pipeline.cascade import predict_with_panel, told

    result = predict_with_panel(student, parsed.cascade, parsed.input, parsed.output, target=parsed.target, **named)
    print(json.dumps(result.as_json()) if parsed.json else told(result))
    return 0
