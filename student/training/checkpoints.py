"""Checkpoints of a training that is under way, so that one that was killed resumes.

They lie in a hidden folder beside the student and are removed when it is written. A training resumes
from them only if everything that decides its result is the same: rows, targets, settings, versions.
Nothing here imports torch.
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xpoll.core.errors import RunFolderError
from xpoll.core.files import cannot_write, write_json
from xpoll.core.progress import say

STATE = "trainer_state.json"
"""The file that transformers.Trainer writes last into a checkpoint."""

WEIGHTS = ("model.safetensors", "adapter_model.safetensors")
"""Where a checkpoint has its weights: those of a whole model, or of LoRA alone."""


def open_checkpoints(student: Path, settings: dict[str, Any], rows: Sequence[Any]) -> Path:
    """The folder for the checkpoints of `student`, emptied if those in it are of another training.

    Args:
        student: Folder that the student will be written to.
        settings: What decides the result beside the rows, as JSON types.
        rows: Texts and targets, in order.

    Raises:
        RunFolderError: the folder cannot be written.
    """
    folder = student.with_name(f".{student.name}.training")
    wanted = {"settings": settings, "rows": _digest(rows)}
    noted = folder / "training.json"
    try:
        found = json.loads(noted.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if found != json.loads(json.dumps(wanted)):
        remove_checkpoints(folder)
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise cannot_write(folder, error) from error
        write_json(noted, wanted)
    return folder


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that is whole; newer ones that are not are removed, so that none of them is taken."""
    for checkpoint in sorted(folder.glob("checkpoint-*"), key=_step, reverse=True):
        if _is_whole(checkpoint):
            return checkpoint
        say(f"{checkpoint.name} is cut or broken, so training resumes from the one before it, or begins anew")
        shutil.rmtree(checkpoint, ignore_errors=True)
    return None


def remove_checkpoints(folder: Path) -> None:
    """Removes the folder; what cannot be removed is an error, because a training would resume from it.

    Raises:
        RunFolderError: a file in it cannot be removed.
    """
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        raise RunFolderError(f"cannot remove {folder}: {error.strerror}", mend="remove it by hand") from error


def _step(checkpoint: Path) -> int:
    number = checkpoint.name.rpartition("-")[2]
    return int(number) if number.isdigit() else -1


def _is_whole(checkpoint: Path) -> bool:
    try:
        json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
        weights = next((each for each in map(checkpoint.joinpath, WEIGHTS) if each.exists()), checkpoint / WEIGHTS[0])
        return is_whole_safetensors(weights) and all(
            (checkpoint / name).stat().st_size for name in ("optimizer.pt", "scheduler.pt")
        )
    except (OSError, ValueError):
        return False


def is_whole_safetensors(path: Path) -> bool:
    """Whether a file is as long as its header says; cut files are what a kill or a full disk leaves."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy"):
            return True
    except SafetensorError:
        return False


def _digest(rows: Sequence[Any]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row, ensure_ascii=True).encode())
    return digest.hexdigest()
