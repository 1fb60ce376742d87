"""Probabilities that were computed before a prediction was killed, so that the same call resumes.

They lie in a hidden folder beside the output, one file a batch, named after the batch's texts and the
student: what is found is right whatever changed meanwhile.
"""

import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from xpoll.core.errors import RunFolderError
from xpoll.core.files import cannot_write

_DECIDING = ("config.json", "model.safetensors", "calibration.json", "openvino", "onnx")


class Kept:
    """Computes what is not there yet.

    Args:
        output: File that is being written.
        student: Student folder.
        runtime: What computes; another one gives slightly other numbers.
    """

    def __init__(self, output: Path, student: Path, runtime: str) -> None:
        self._folder = output.with_name(f".{output.name}.predicting")
        self._student = _digest([runtime, *(_stamp(student / name) for name in _DECIDING)])
        self.found = 0
        """Batches that an earlier call has computed."""

    def computed(self, texts: Sequence[str], compute: Callable[[Sequence[str]], np.ndarray]) -> np.ndarray:
        """What `compute` makes of the texts, from the folder if it is there.

        Raises:
            RunFolderError: the folder cannot be written.
        """
        path = self._folder / f"{_digest([self._student, *texts])}.npy"
        try:
            kept: np.ndarray = np.load(path, allow_pickle=False)
            self.found += 1
            return kept
        except (OSError, ValueError, EOFError):
            pass
        made = compute(texts)
        temporary = path.with_suffix(".tmp.npy")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            np.save(temporary, made)
            temporary.replace(path)
        except OSError as error:
            raise cannot_write(path, error) from error
        return made

    def remove(self) -> None:
        """Removes what was kept; the output is there.

        Raises:
            RunFolderError: a file cannot be removed.
        """
        try:
            shutil.rmtree(self._folder)
        except FileNotFoundError:
            return
        except OSError as error:
            raise RunFolderError(f"cannot remove {self._folder}: {error.strerror}", mend="remove it by hand") from error


def _stamp(path: Path) -> str:
    try:
        found = path.stat()
    except OSError:
        return f"{path.name} is not there"
    return f"{path.name} {found.st_size} {found.st_mtime_ns}"


def _digest(parts: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()
