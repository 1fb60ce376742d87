"""`xpoll predict`: labels a file with a student, or with a student and the panel behind it."""

import argparse
import json

from scripts.export import student_folder
from student.predict import predict_file


def predict(parsed: argparse.Namespace) -> int:
    """Labels the file and says how many rows were written."""
    if parsed.cascade:
        from scripts.cascade import predict_with_panel

        return predict_with_panel(parsed)
    student = student_folder(parsed.student)
    rows = predict_file(
        student,
        parsed.input,
        parsed.output,
        text_column=parsed.text_column,
        runtime=parsed.runtime,
        device=parsed.device,
    )
    result = {"rows": rows, "output": str(parsed.output)}
    print(json.dumps(result) if parsed.json else f"predict: wrote {rows} rows to {parsed.output}")
    return 0
