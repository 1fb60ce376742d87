"""Runs a student that was exported to ONNX."""

import importlib.util
from pathlib import Path

import numpy as np

from xpoll.core.errors import ConfigError, ModelError

RUNTIME = "onnx"
FOLDER = "onnx"
FILE = "model.onnx"
ON_CPU = "CPUExecutionProvider"


class OnnxForward:
    """Batches of token ids to logits, on all cores or an execution provider that ONNX Runtime has.

    Args:
        student: Student folder.
        device: Name of the provider, e.g. OpenVINOExecutionProvider; the CPU's without one.
        folder: Where in it the file lies.

    Raises:
        ConfigError: ONNX Runtime is not installed, or has no such provider.
        ModelError: the student was not exported, or its file cannot be read.
    """

    def __init__(self, student: Path, device: str | None, *, folder: str = FOLDER) -> None:
        require_runtime("onnxruntime")
        import onnxruntime

        path = student / folder / FILE
        if not path.exists():
            raise ModelError(f"{path} is not there", mend=f"xpoll export {student} --onnx")
        there = onnxruntime.get_available_providers()
        if device is not None and device not in there:
            raise ConfigError(f"ONNX Runtime has no provider {device!r} here", mend=f"name one of: {', '.join(there)}")
        try:
            self._session = onnxruntime.InferenceSession(str(path), providers=[device or ON_CPU])
        except Exception as error:  # its errors have no common class of their own
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ModelError(f"{path} cannot be run: {reason[:200]}", mend=f"xpoll export {student} --onnx") from error
        self._names = [each.name for each in self._session.get_inputs()]

    def __call__(self, batches: list[dict[str, np.ndarray]]) -> list[np.ndarray]:
        """(texts, labels) float32 logits of each batch; of a student of spans (texts, tokens, tags)."""
        return [self._session.run(None, {name: batch[name] for name in self._names})[0] for batch in batches]


def require_runtime(*packages: str) -> None:
    """Finds out before any work whether packages of the extra `onnx` are installed.

    Raises:
        ConfigError: one is not.
    """
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise ConfigError(
            f"ONNX needs the package {missing[0]}", mend="pip install onnx onnxruntime onnxscript, or --runtime pytorch"
        )
