"""The same keys train and ask on an Intel GPU: the exact calls, with a stand-in for torch.xpu."""

import json
import sys
import threading
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.toy import LABELS, documents, settings
from xpoll.core.errors import ConfigError
from xpoll.core.machine.device import best_device
from xpoll.student.dataset import Rows
from xpoll.student.inference.model import StudentModel
from xpoll.student.inference.openvino_runtime import _check_device
from xpoll.student.inference.torch_forward import TorchForward
from xpoll.student.intel import ipex, ipex_step
from xpoll.student.train import train_student
from xpoll.student.training import arguments
from xpoll.student.training.encoder import load_for_training

XPU = torch.device("xpu")
Calls = list[tuple[Any, ...]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """What is moved to an XPU stays where it is and is noted here."""
    made: Calls = []
    for kind in (torch.nn.Module, torch.Tensor):
        real = kind.to

        def to(self: Any, *wanted: Any, _real: Any = real, **more: Any) -> Any:
            if wanted and str(wanted[0]).startswith("xpu"):
                made.append(("to", type(self).__name__, str(wanted[0])))
                return self
            return _real(self, *wanted, **more)

        monkeypatch.setattr(kind, "to", to)
    return made


@pytest.fixture
def accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose torch.accelerator is an XPU of four tiles."""
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: XPU)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 4)
    monkeypatch.setattr(arguments, "is_torch_bf16_gpu_available", lambda: True)


def test_a_build_for_an_accelerator_that_is_not_there_means_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def as_built_for_cuda(check_available: bool = False) -> torch.device | None:
        return None if check_available else torch.device("cuda")

    monkeypatch.setattr(torch.accelerator, "current_accelerator", as_built_for_cuda)
    assert best_device() == torch.device("cpu")


def test_an_xpu_trains_in_bf16_and_pins_memory(
    accelerator: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert arguments.chosen_precision("auto") == "bf16"
    assert arguments.chosen_precision("fp32") == "fp32"
    given: dict[str, Any] = {}

    def noted(**values: Any) -> SimpleNamespace:
        given.update(values)
        return SimpleNamespace(n_gpu=1)

    monkeypatch.setattr(arguments, "TrainingArguments", noted)
    arguments.arguments(
        settings(tmp_path), "bf16", seed=0, num_rows=100, judged=False, checkpoints=tmp_path / "checkpoints"
    )
    assert given["bf16"] and given["dataloader_pin_memory"] and not given["use_cpu"] and given["ddp_backend"] is None


def test_an_xpu_without_bf16_refuses_it(accelerator: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arguments, "is_torch_bf16_gpu_available", lambda: False)
    assert arguments.chosen_precision("auto") == "fp32"
    with pytest.raises(ConfigError, match="bf16, which this xpu device does not compute"):
        arguments.chosen_precision("bf16")


def test_all_tiles_are_trained_on_and_no_more_than_there_are(accelerator: None, tmp_path: Path) -> None:
    from xpoll.student.training.distributed import num_devices

    assert num_devices(settings(tmp_path, devices=0)) == 4
    with pytest.raises(ConfigError, match="student.devices is 5, and there are 4"):
        num_devices(settings(tmp_path, devices=5))


def test_a_student_is_asked_on_all_tiles(trained: Any, accelerator: None, calls: Calls) -> None:
    texts = [document.text for document in documents(300, seed=4)]
    found = StudentModel(trained.folder).probabilities(texts)
    models = [place for _, kind, place in calls if kind == "BertForSequenceClassification"]
    assert models == ["xpu:0", "xpu:1", "xpu:2", "xpu:3"]
    inputs = {place for _, kind, place in calls if kind == "Tensor"}
    assert inputs <= set(models) and inputs
    np.testing.assert_array_equal(found, StudentModel(trained.folder, device="cpu").probabilities(texts))


def test_a_device_takes_the_next_batch_while_another_computes() -> None:
    class Slow(torch.nn.Module):
        """Its calls return when two of them are under way."""

        config = SimpleNamespace(model_type="other")
        both = threading.Barrier(2, timeout=10)

        def forward(self, input_ids: torch.Tensor) -> Any:
            self.both.wait()
            return SimpleNamespace(logits=input_ids.float())

        def __deepcopy__(self, _: Any) -> "Slow":
            return Slow()

    batches = [{"input_ids": np.full((2, 3), number)} for number in range(6)]
    found = TorchForward(Slow(), [torch.device("cpu"), torch.device("cpu")])(batches)
    assert [each.tolist() for each in found] == [[[number] * 3] * 2 for number in range(6)]


def test_a_failure_on_one_device_is_not_a_batch_of_nothing() -> None:
    class Broken(torch.nn.Module):
        config = SimpleNamespace(model_type="other")

        def forward(self, input_ids: torch.Tensor) -> Any:
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        TorchForward(Broken(), [torch.device("cpu")] * 2)([{"input_ids": np.zeros((1, 1))}])


@pytest.mark.parametrize("name", ["gpu", "xpu:7", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(trained: Any, name: str) -> None:
    with pytest.raises(ConfigError, match=rf"PyTorch has no device '{name}' here -> name one of: cpu"):
        StudentModel(trained.folder, device=name)


@pytest.mark.parametrize("name", ["CPU", "GPU", "GPU.1", "AUTO", "AUTO:GPU,CPU", "AUTO:-NPU", "MULTI:GPU.0,GPU.1"])
def test_openvino_devices_that_are_there_pass(name: str) -> None:
    _check_device(name, ["CPU", "GPU.0", "GPU.1"])


@pytest.mark.parametrize(
    ("name", "missing"), [("gpu", "gpu"), ("GPU.2", "GPU.2"), ("MULTI:GPU.0,NPU", "NPU"), ("MULTI", "MULTI")]
)
def test_openvino_devices_that_are_not_there_are_named(name: str, missing: str) -> None:
    with pytest.raises(ConfigError, match=f"OpenVINO finds no device '{missing}' -> name one of: CPU, GPU.0, GPU.1"):
        _check_device(name, ["CPU", "GPU.0", "GPU.1"])


def test_the_ipex_step_optimises_model_and_optimizer_on_the_xpu(
    encoder: Path, tmp_path: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    optimised: Calls = []
    extension = ModuleType("intel_extension_for_pytorch")

    def optimize(model: Any, *, optimizer: Any, dtype: Any, inplace: bool) -> tuple[Any, Any]:
        moved = [call for call in calls if call[1] == type(model).__name__]
        optimised.append((type(optimizer).__name__, dtype, inplace, moved, model.training))
        return model, optimizer

    extension.__dict__.update(optimize=optimize, __version__="2.8.10+xpu")
    monkeypatch.setitem(sys.modules, extension.__name__, extension)
    config = settings(encoder, epochs=1, precision="auto", batch_size=8)
    untrained = load_for_training(config, LABELS, seed=0)
    ipex._write_task(tmp_path, untrained, config, 0)
    rows = documents(24)
    ipex._write_rows(
        tmp_path, untrained.tokenizer, [(Rows([row.text for row in rows], [row.distribution for row in rows]), False)]
    )
    monkeypatch.setattr(torch.xpu, "is_available", lambda: True)
    task = json.loads((tmp_path / "task.json").read_text())
    lines = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    done = ipex_step.train(task, lines, tmp_path / "model")
    moved = ("to", "BertForSequenceClassification", "xpu")
    assert optimised == [("AdamW", torch.bfloat16, True, [moved], True)], "moved first, optimised once, while training"
    assert done["precision"] == "bf16" and done["device"].startswith("xpu, IPEX 2.8.10+xpu")
    assert calls.count(("to", "Tensor", "xpu")) == 3 * 3, "ids, mask and targets of three batches"
    assert (tmp_path / "model" / "model.safetensors").exists()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_student_is_trained_on_cuda_by_the_same_keys(encoder: Path, tmp_path: Path) -> None:
    training = train_student(
        documents(60), LABELS, config=settings(encoder, precision="auto"), seed=0, output=tmp_path / "student"
    )
    assert training.device.startswith("cuda")
