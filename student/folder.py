"""Writes a student folder whole or not at all.

The folder is filled beside its place and renamed. If a student is already there, it is moved aside
first and removed last, so a reader finds the old one, the new one, or for one rename none, never a
mixture.
"""

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from xpoll.core.errors import ModelError, RunFolderError, UserError
from xpoll.core.files import NoJSONError, cannot_write, json_value, read_json, sync_folder, write_json
from xpoll.student.training_record import Forecast, Point, Training

MARKER = "training.json"
"""The file that tells a student folder from any other folder."""

SEEDS = "seeds"
"""Folder in a student's folder for those trained alike with other seeds."""


def other_seeds(student: Path) -> list[Path]:
    """Folders of the students that were trained beside this one, in the order of their seeds."""
    return sorted((student / SEEDS).glob("*"), key=lambda path: int(path.name))


def forecast_of(student: Path) -> Forecast | None:
    """What more voted texts would bring, if the student was trained with a learning curve."""
    return read_training(student).forecast if (student / MARKER).exists() else None


def learning_curve_of(student: Path) -> list[Point]:
    """Students trained on parts of the voted texts and on all, by their number; empty if there are none."""
    return list(read_training(student).learning_curve) if (student / MARKER).exists() else []


def read_training(student: Path) -> Training:
    """What the training of a student says of itself.

    Raises:
        ModelError: the file is missing, cut, or of another version.
    """
    try:
        return Training.model_validate(read_json(student / MARKER))
    except NoJSONError as error:
        raise ModelError(error.what, mend="train anew with xpoll train") from error
    except (OSError, ValueError) as error:  # a ValidationError is a ValueError
        reason = f"{error.error_count()} keys are not of this version" if isinstance(error, ValidationError) else error
        raise ModelError(f"{student / MARKER} cannot be read: {reason}", mend="train anew with xpoll train") from error


def write_training(student: Path, training: Training) -> None:
    """Writes what the training of a student says of itself into its folder."""
    write_json(student / MARKER, training.model_dump(mode="json"))


def check_place(path: Path) -> None:
    """Finds out before any work whether a student can be written to `path`.

    Raises:
        RunFolderError: the place cannot be written, or something that is no student lies there.
    """
    if path.is_dir() and any(path.iterdir()) and not (path / MARKER).exists():
        raise RunFolderError(f"{path} holds files that are no student", mend="name an empty or a new folder")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise cannot_write(path, error) from error


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yields an empty temporary folder beside `path`; puts it in the place of `path` on success.

    Call `check_place` first: whatever folder is at `path` is replaced.

    Raises:
        RunFolderError: the place cannot be written, or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        _sync(temporary)
        _swap(temporary, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    except UserError:
        raise
    except Exception as error:
        failed_write = _as_os_error(error)
        if failed_write is None:
            raise
        raise cannot_write(path, failed_write) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _swap(temporary: Path, path: Path) -> None:
    old = path.with_name(f".{path.name}.{os.getpid()}.old")
    if path.is_dir():
        path.replace(old)
    try:
        temporary.replace(path)
    except OSError:
        if old.exists():
            old.replace(path)
        raise
    sync_folder(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def _sync(folder: Path) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as written:
                os.fsync(written.fileno())
    sync_folder(folder)


def _as_os_error(error: Exception) -> OSError | None:
    """The failed write behind an error of safetensors or tokenizers, whose Rust side raises no OSError."""
    code = re.search(r"\(os error (\d+)\)", str(error))
    if code is not None:
        return OSError(int(code[1]), os.strerror(int(code[1])))
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) if "No space left on device" in str(error) else None


def student_folder(path: Path) -> Path:
    """The folder of a student that labels texts, from it or from the run folder that holds it.

    Raises:
        ModelError: the student is a language model, which labels none.
    """
    inside = path / "student"
    found = inside if inside.is_dir() else path
    if is_generative(found):
        raise ModelError(
            f"{found} is a fine-tuned language model, which labels no texts",
            mend=f"xpoll serve {path}, or xpoll batch IN.jsonl OUT.jsonl --model {found}",
        )
    return found


def is_generative(student: Path) -> bool:
    """Whether a student's folder holds a fine-tuned language model."""
    try:
        found = json_value((student / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found.get("kind") == "causal-lm"


def generative_folder(path: Path) -> Path | None:
    """The fine-tuned language model in a folder, its own or its run's; None where there is none."""
    return next((each for each in (path / "student", path) if is_generative(each)), None)
