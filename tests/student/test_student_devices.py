"""The same keys train and ask on an Intel GPU: the exact calls, with a stand-in for torch.xpu."""

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from toy import LABELS, documents, settings

from core.device import best_device
from core.errors import ConfigError
from student import arguments, ipex, ipex_step, predict
from student.encoder import load_for_training
from student.fine_tune import Rows
from student.predict import StudentModel
from student.train import train_student

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
    from student.distributed import num_devices

    assert num_devices(settings(tmp_path, devices=0)) == 4
    with pytest.raises(ConfigError, match="student.devices is 5, and there are 4"):
        num_devices(settings(tmp_path, devices=5))


def test_a_student_is_asked_on_the_xpu(
    trained: Any, accelerator: None, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[torch.device] = []

    def logits(*_: Any, device: torch.device, **__: Any) -> np.ndarray:
        asked.append(device)
        return np.zeros((1, len(LABELS)))

    monkeypatch.setattr(predict, "logits", logits)
    StudentModel(trained.folder).probabilities(["a gain"])
    assert ("to", "BertForSequenceClassification", "xpu") in calls
    assert asked == [XPU]


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
    assert training["device"].startswith("cuda")
