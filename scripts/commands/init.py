"""`xpoll init`: looks at a file of texts and writes a job for it, with comments on what is worth setting."""

import argparse
import json
from pathlib import Path

from xpoll.pipeline.draft import draft_job, survey_texts, write_job


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The texts, the labels, and what to begin from."""
    command.add_argument(
        "texts", help="CSV, JSONL, Parquet, Arrow or Excel file, a pattern or folder of them, or hf://datasets/..."
    )
    command.add_argument("--labels", help="names with commas between them, e.g. complaint,question,praise")
    command.add_argument("--from", dest="example", metavar="EXAMPLE", help="take settings, and labels, of an example")
    command.add_argument("--text-column", help="column that holds the text (default: the likeliest)")
    command.add_argument(
        "--id-column", help="column that holds a unique id (default: one that does, if it is called so)"
    )
    command.add_argument("--output", type=Path, default=Path("job.toml"), help="file to write (default: job.toml)")
    command.add_argument("--force", action="store_true", help="overwrite it if it is there")


def call(parsed: argparse.Namespace) -> int:
    """Writes the job, and says what was chosen and what to type next."""
    labels = None if parsed.labels is None else [each.strip() for each in parsed.labels.split(",")]
    survey = survey_texts(parsed.texts, text_column=parsed.text_column, id_column=parsed.id_column)
    config = write_job(draft_job(survey, labels, example=parsed.example), parsed.output, force=parsed.force)
    if parsed.json:
        chosen = {"text_column": survey.text_column, "id_column": survey.id_column, "labels": list(config.task.labels)}
        print(json.dumps({"job": str(parsed.output), **chosen}))
        return 0
    ids = f"ids from {survey.id_column!r}" if survey.id_column else "rows are numbered"
    print(f"init: wrote {parsed.output}: texts from the column {survey.text_column!r}, {ids}")
    for column, values in survey.label_columns.items():
        print(f"the column {column!r} may hold known labels: {', '.join(values)}")
    print(f"type: xpoll plan {parsed.output}; xpoll run {parsed.output}")
    return 0
