"""An exported student on a GPU, with OpenVINO's CPU plugin in the place of the GPU's: all other code runs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xpoll.core.errors import ConfigError
from xpoll.student.inference.openvino_runtime import OpenVinoForward

openvino = pytest.importorskip("openvino")


class GpuCore:
    """A Core whose one device is a GPU; the CPU plugin, which OpenVINO loads under no other name, does its work."""

    available_devices = ("GPU.0",)

    def __init__(self) -> None:
        self._real = REAL()

    def read_model(self, path: Path) -> Any:
        return self._real.read_model(path)

    def compile_model(self, model: Any, device: str, options: dict[str, str]) -> Any:
        MADE.append((device, options))
        return self._real.compile_model(model, device.replace("GPU", "CPU"), options)


REAL = openvino.Core
MADE: list[tuple[str, dict[str, str]]] = []
"""Device and options of each compilation."""


@pytest.fixture
def _cpu_as_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino, "Core", GpuCore)
    MADE.clear()


@pytest.fixture
def student(tmp_path: Path) -> Path:
    """A classifier of two labels by hand: the number of real tokens, and its negative."""
    from openvino import opset13 as ops

    ids = ops.parameter([-1, -1], np.int64, name="input_ids")
    mask = ops.parameter([-1, -1], np.int64, name="attention_mask")
    for node, name in ((ids, "input_ids"), (mask, "attention_mask")):
        node.output(0).set_names({name})
    tokens = ops.reduce_sum(ops.convert(ops.multiply(ids, mask), "f32"), ops.constant([1]), keep_dims=True)
    logits = ops.concat([tokens, ops.negative(tokens)], 1)
    folder = tmp_path / "student/openvino/fp32"
    folder.mkdir(parents=True)
    openvino.save_model(openvino.Model([logits], [ids, mask], "student"), folder / "openvino_model.xml")
    return tmp_path / "student"


BATCHES: list[dict[str, Any]] = [
    {"input_ids": np.array([[1, 2, 3], [4, 5, 9]]), "attention_mask": np.array([[1, 1, 1], [1, 1, 0]])},
    {"input_ids": np.array([[7]]), "attention_mask": np.array([[1]]), "token_type_ids": np.array([[0]])},
]


@pytest.mark.usefixtures("_cpu_as_gpu")
def test_a_student_is_compiled_for_the_gpu_and_answers_all_batches(student: Path) -> None:
    forward = OpenVinoForward(student, "openvino", device="GPU", in_fp32=True)
    found = forward(BATCHES)
    assert MADE == [("GPU", {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "f32"})]
    np.testing.assert_allclose(found[0], [[6, -6], [9, -9]])
    np.testing.assert_allclose(found[1], [[7, -7]])


@pytest.mark.usefixtures("_cpu_as_gpu")
def test_a_device_that_is_not_there_is_named_beside_the_gpu(student: Path) -> None:
    with pytest.raises(ConfigError, match="finds no device 'CPU' -> name one of: GPU.0; or AUTO"):
        OpenVinoForward(student, "openvino", device="CPU")
