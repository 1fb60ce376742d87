"""Runs a student that was exported to OpenVINO."""

from pathlib import Path
from typing import Any

import numpy as np

from xpoll.core.errors import ConfigError, ModelError
from xpoll.student.intel.export import FOLDER

FP32 = "openvino"
RUNTIMES = {FP32: "fp32", "openvino-int8-weights": "int8-weights", "openvino-int8": "int8"}
"""Name of a runtime to the folder of its files in student/openvino."""

IN_FP32 = {"INFERENCE_PRECISION_HINT": "f32"}
OPTIONS = {"openvino-int8-weights": IN_FP32}
"""What a runtime is compiled with beside the throughput hint. In bf16, which OpenVINO takes where the processor has it,
OpenVINO 2026.4 gave the same label to every text with INT8 weights of a small encoder (32 hidden units, AMX)."""


class OpenVinoForward:
    """Batches of token ids to logits, on all cores or a device that OpenVINO knows.

    Args:
        student: Student folder.
        runtime: One of RUNTIMES.
        device: As OpenVINO calls it.
        in_fp32: Whether to compute in fp32 where the device has something faster.

    Raises:
        ConfigError: OpenVINO is not installed, or finds no such device.
        ModelError: the student was not exported, or its files cannot be read.
    """

    def __init__(self, student: Path, runtime: str, *, device: str = "CPU", in_fp32: bool = False) -> None:
        try:
            import openvino
        except ImportError as error:
            raise ConfigError(
                f"runtime {runtime} needs the package openvino", mend="pip install openvino, or --runtime pytorch"
            ) from error
        path = student / FOLDER / RUNTIMES[runtime] / "openvino_model.xml"
        if not path.exists():
            raise ModelError(f"{path} is not there", mend=f"xpoll export {student}")
        core = openvino.Core()
        _check_device(device, core.available_devices)
        try:
            model = core.read_model(path)
            self._names = {name for port in model.inputs for name in port.names}
            options = {"PERFORMANCE_HINT": "THROUGHPUT", **(IN_FP32 if in_fp32 else OPTIONS.get(runtime, {}))}
            self._compiled = core.compile_model(model, device, options)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise ModelError(f"{path} cannot be run: {reason}", mend=f"xpoll export {student}") from error
        self._queue = openvino.AsyncInferQueue(self._compiled)

    def __call__(self, batches: list[dict[str, np.ndarray]]) -> list[np.ndarray]:
        """(texts, labels) float32 logits of each batch; several batches are in flight at once."""
        found: list[np.ndarray] = [np.empty(0)] * len(batches)

        def keep(request: Any, number: int) -> None:
            found[number] = np.array(request.get_output_tensor(0).data)

        self._queue.set_callback(keep)
        for number, batch in enumerate(batches):
            inputs = {name: value for name, value in batch.items() if name in self._names}
            self._queue.start_async(inputs, number)
        self._queue.wait_all()
        return found


def _check_device(device: str, available: list[str]) -> None:
    """`device` is a name, a name with a number (GPU.1), AUTO, or several behind MULTI: or AUTO: (-GPU: not that)."""
    plan, _, listed = device.partition(":")
    known = {*available, *(found.partition(".")[0] for found in available), "AUTO"}
    names = [name for name in (listed or plan).split(",") if not name.startswith("-")]
    missing = next((name for name in names if name not in known), None)
    if missing is not None:
        raise ConfigError(f"OpenVINO finds no device {missing!r}", mend=f"name one of: {', '.join(available)}; or AUTO")
