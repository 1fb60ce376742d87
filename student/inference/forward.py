"""What computes a student's logits, by the name of its runtime."""

from pathlib import Path

from xpoll.core.errors import ConfigError
from xpoll.student.inference.logits import Forward
from xpoll.student.inference.onnx_runtime import RUNTIME, OnnxForward
from xpoll.student.training.encoder import Encoder


def forward_of(folder: Path, encoder: Encoder, *, runtime: str, device: str | None) -> Forward:
    """PyTorch or ONNX Runtime, which compute students of every kind.

    Args:
        folder: Student folder.
        encoder: What was loaded from it.
        runtime: pytorch or onnx.
        device: As the runtime calls it; without it all accelerators or the CPU, of ONNX Runtime the CPU.

    Raises:
        ConfigError: the runtime is another one, is not installed, or has no such device.
        ModelError: the student was not exported for it.
    """
    if runtime == RUNTIME:
        return OnnxForward(folder, device)
    if runtime != "pytorch":
        raise ConfigError(
            f"runtime {runtime} is for students of one label per text", mend="leave --runtime out, or name onnx"
        )
    from xpoll.student.inference.torch_forward import TorchForward, devices_named

    return TorchForward(encoder.model, devices_named(device))
