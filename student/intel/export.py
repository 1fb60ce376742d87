"""Exports a student to OpenVINO files that `xpoll predict --runtime` uses, and any OpenVINO program.

Reads a student folder. Writes its folder openvino/ whole or not at all: fp32, int8-weights (INT8 weights,
fp32 arithmetic) and int8 (INT8 arithmetic, ranges calibrated on given texts). optimum-intel needs an
older Transformers than vLLM, so it works in the environment that `make ipex` builds.
"""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xpoll.core.errors import ConfigError, ModelError
from xpoll.core.files import read_json
from xpoll.core.progress import Waiting
from xpoll.student.folder import replacing_folder
from xpoll.student.inference.logits import longest_text
from xpoll.student.intel.interpreter import interpreter
from xpoll.student.training.encoder import load_student

STEP = "xpoll.student.intel.openvino_step"
FOLDER = "openvino"
CLOSE_CALL = "close_call.json"
"""Beside the files of an INT8 form: `lead`, by how many logits a label's lead over another is off, and `share`, that of
the calibration texts whose best label leads by less (openvino_step.py)."""
CALIBRATION_TEXTS = 300
"""More change the ranges little and take longer."""


def export_student(student: Path, texts: Sequence[str], *, python: str) -> dict[str, Any]:
    """Writes student/openvino.

    Args:
        student: Student folder.
        texts: Such as it will be asked about; the first CALIBRATION_TEXTS set the ranges of INT8.
        python: Of the environment with optimum-intel, openvino and nncf.

    Returns:
        How many texts it was calibrated on, versions, the size of each form in bytes, and of INT8 forms the share of
        texts that are close calls (student/inference/close_calls.py).

    Raises:
        ConfigError: the environment is not there, or no text is given.
        ModelError: the folder holds no student, or the export failed.
    """
    python = str(interpreter(python))
    if not Path(python).exists():
        raise ConfigError(
            f"exports are made in an environment of their own, and {python} is not there",
            mend="make ipex, or name its Python with --python",
        )
    if not texts:
        raise ConfigError("INT8 needs texts to calibrate with, and there are none", mend="name a file with --texts")
    _check_one_label(student)
    encoder = load_student(str(student))
    chosen = list(texts[:CALIBRATION_TEXTS])
    ids = encoder.tokenizer(chosen, truncation=True, max_length=longest_text(encoder))["input_ids"]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _copy_model(student, folder / "model")
        lines = "".join(json.dumps(each) + "\n" for each in ids)
        (folder / "texts.jsonl").write_text(lines, encoding="utf-8")
        with Waiting(f"exporting {student} to OpenVINO", usual_s=60):
            _run(python, folder)
        done: dict[str, Any] = json.loads((folder / "done.json").read_text(encoding="utf-8"))
        with replacing_folder(student / FOLDER) as output:
            shutil.copytree(folder / FOLDER, output, dirs_exist_ok=True)
    forms = sorted((student / FOLDER).iterdir())
    sizes = {form.name: sum(f.stat().st_size for f in form.iterdir()) for form in forms}
    close = {form.name: read_json(form / CLOSE_CALL)["share"] for form in forms if (form / CLOSE_CALL).exists()}
    return done | {"bytes": sizes, "close_calls": close}


def _check_one_label(student: Path) -> None:
    """Refuses a student of label sets or of spans; a folder that is no student is found later."""
    try:
        about = read_json(student / "config.json")
    except (OSError, ValueError):
        return
    tags_tokens = any(str(name).endswith("ForTokenClassification") for name in about.get("architectures") or ())
    if tags_tokens or about.get("problem_type") == "multi_label_classification":
        raise ModelError(
            f"{student} gives a text several labels or spans, and only students of one label per text are exported",
            mend="xpoll predict runs it with PyTorch",
        )


def _copy_model(student: Path, target: Path) -> None:
    """Config and weights alone: transformers 4 cannot read the tokenizers that transformers 5 saves."""
    target.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(student / name, target / name)


def _run(python: str, folder: Path) -> None:
    done = subprocess.run([python, "-I", "-m", STEP, str(folder)], capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise ModelError(f"the export to OpenVINO failed: {last}", mend="make ipex")
