"""`xpoll export`: the labels of a run in the forms of other tools, or its student as OpenVINO or ONNX files."""

import argparse
import json
from pathlib import Path

from xpoll.core.errors import ConfigError, InputError
from xpoll.core.tables.readers import stream_rows
from xpoll.scripts.arguments import add_text_column
from xpoll.scripts.outputs import add_outputs, outputs_as_json, wanted_outputs
from xpoll.student.folder import generative_folder, student_folder
from xpoll.student.hub import push, require_token

TEXTS = 300


def add_arguments(command: argparse.ArgumentParser) -> None:
    """A run, the forms of its labels, or how its student is exported and where it goes."""
    named = (
        "run folder, or that of a student alone; without one of the options that write labels, the student is exported"
    )
    command.add_argument("student", metavar="run", type=Path, help=named)
    add_outputs(command, "write the labels as")
    command.add_argument("--texts", help="file of texts to calibrate INT8 with (default: the voted texts of the run)")
    add_text_column(command)
    hub = "upload the student, or what --datasets wrote, to the Hugging Face hub; needs HF_TOKEN"
    command.add_argument("--push-to-hub", metavar="USER/NAME", help=hub)
    command.add_argument("--onnx", action="store_true", help="export the student as ONNX in place of OpenVINO")
    python = "Python of the environment that `make ipex` builds"
    command.add_argument("--python", default=".venv-ipex/bin/python", help=python)


def call(parsed: argparse.Namespace) -> int:
    """Exports and says what was written.

    Raises:
        InputError: there are no texts to calibrate with.
    """
    from xpoll.student.intel.export import FOLDER, export_student

    if parsed.push_to_hub:
        require_token()
    if wanted := wanted_outputs(parsed):
        return _labels(parsed, wanted)
    if generative := generative_folder(parsed.student):
        return _push_generative(generative, parsed)
    student = student_folder(parsed.student)
    if parsed.onnx:
        return _onnx(student, parsed)
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


def _onnx(student: Path, parsed: argparse.Namespace) -> int:
    from xpoll.student.inference.onnx_export import export_onnx

    has_texts = parsed.texts is not None or (parsed.student / "labels.parquet").exists()
    done = export_onnx(student, _texts(parsed) if has_texts else [])
    hub = push(student, parsed.push_to_hub) if parsed.push_to_hub else None
    if parsed.json:
        print(json.dumps({**done._asdict(), **({"hub": hub} if hub else {})}, default=str))
        return 0
    same = f"PyTorch's logits on {done.tried_on} texts to within {done.most_off:.1g}"
    print(f"export: wrote {done.folder}, {done.num_bytes / 2**20:.1f} MiB; {same}")
    return 0


def _labels(parsed: argparse.Namespace, wanted: dict[str, Path]) -> int:
    """Writes the labels of a run.

    Raises:
        ConfigError: an upload is asked for, and no folder that can be one.
    """
    from xpoll.core.config.file import load_config
    from xpoll.core.outputs.registry import write_outputs
    from xpoll.core.run_folder import RunFolder
    from xpoll.pipeline.label_texts import label_text_set

    if parsed.push_to_hub and "datasets" not in wanted:
        raise ConfigError("--push-to-hub uploads labels as a data set", mend="add --datasets FOLDER")
    config = load_config(parsed.student)
    written = write_outputs(label_text_set(config, RunFolder(Path(config.job.run_folder))), wanted)
    told = outputs_as_json(written)
    hub = push(wanted["datasets"], parsed.push_to_hub, kind="dataset") if parsed.push_to_hub else None
    if parsed.json:
        print(json.dumps({"outputs": told, **({"hub": hub} if hub else {})}, default=str))
        return 0
    for each in written.values():
        print(f"export: {each.line}")
    if hub:
        print(f"export: uploaded to {hub}")
    return 0


def _push_generative(student: Path, parsed: argparse.Namespace) -> int:
    """Uploads a language model, which has no other form than its folder.

    Raises:
        ConfigError: no upload is asked for.
    """
    if not parsed.push_to_hub:
        raise ConfigError(
            f"{student} is a fine-tuned language model, of which there is no OpenVINO form here",
            mend=f"xpoll serve {parsed.student}, or --push-to-hub USER/NAME",
        )
    address = push(student, parsed.push_to_hub)
    print(json.dumps({"output": str(student), "hub": address}) if parsed.json else f"export: uploaded to {address}")
    return 0


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
