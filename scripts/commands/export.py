"""`xpoll export`: a student as OpenVINO files."""

import argparse
import json
import os
from pathlib import Path

from xpoll.core.errors import ConfigError, InputError, ModelError
from xpoll.core.tables.readers import stream_rows
from xpoll.scripts.arguments import add_text_column
from xpoll.student.folder import student_folder

TEXTS = 300


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Student, texts to calibrate with, and where it goes."""
    command.add_argument("student", type=Path, help="student folder, or the run folder that holds it")
    command.add_argument("--texts", help="file of texts to calibrate INT8 with (default: the voted texts of the run)")
    add_text_column(command)
    hub = "upload the folder to the Hugging Face hub; needs HF_TOKEN"
    command.add_argument("--push-to-hub", metavar="USER/NAME", help=hub)
    python = "Python of the environment that `make ipex` builds"
    command.add_argument("--python", default=".venv-ipex/bin/python", help=python)


def call(parsed: argparse.Namespace) -> int:
    """Exports and says what was written.

    Raises:
        InputError: there are no texts to calibrate with.
    """
    from xpoll.student.intel.export import FOLDER, export_student

    student = student_folder(parsed.student)
    token = os.environ.get("HF_TOKEN")
    if parsed.push_to_hub and not token:
        raise ConfigError("--push-to-hub needs a token", mend="set HF_TOKEN in the environment")
    done = export_student(student, _texts(parsed), python=parsed.python)
    if parsed.push_to_hub:
        done["hub"] = push(student, parsed.push_to_hub)
    if parsed.json:
        print(json.dumps({"output": str(student / FOLDER), **done}))
        return 0
    print(f"export: wrote {student / FOLDER}, INT8 calibrated on {done['calibrated_on']} texts")
    for form, size in done["bytes"].items():
        share = done["close_calls"].get(form)
        close = (
            ""
            if share is None
            else f", {share:.1%} of these texts are close calls, which fp32 decides".replace("%", " %")
        )
        print(f"  {form:14} {size / 2**20:7.1f} MiB{close}")
    return 0


def push(student: Path, name: str) -> str:
    """Uploads a student, without the other seeds; returns its address.

    Raises:
        ModelError: the hub refuses it or does not answer.
    """
    from huggingface_hub import HfApi

    hub = HfApi()
    try:
        hub.create_repo(name, exist_ok=True)
        uploaded = hub.upload_folder(repo_id=name, folder_path=student, ignore_patterns=["seeds/*"])
    except Exception as error:  # the hub's HTTP client has errors of its own, which differ between its versions
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"{student} cannot be uploaded to {name}: {reason}", mend="check the name and HF_TOKEN"
        ) from error
    return str(uploaded)


def _texts(parsed: argparse.Namespace) -> list[str]:
    source, column = parsed.texts, parsed.text_column
    if source is None:
        voted = parsed.student / "labels.parquet"
        if not voted.exists():
            raise InputError(
                f"{parsed.student} is no run folder, so there are no texts to calibrate INT8 with",
                mend="name a file of texts with --texts",
            )
        source, column = str(voted), "text"
    texts: list[str] = []
    for row in stream_rows(source, key="--texts", needs=(column,)):
        text = row.values.get(column) if row.problem is None else None
        if isinstance(text, str) and text.strip():
            texts.append(text)
        if len(texts) == TEXTS:
            break
    return texts
