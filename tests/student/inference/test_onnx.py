"""A student as ONNX answers as it does in PyTorch; what is missing is named in a line."""

from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Xpoll
from tests.support.toy import LABELS, documents, settings
from xpoll.core.errors import ConfigError, ModelError
from xpoll.student.heads.registry import HEADS
from xpoll.student.inference import onnx_export, onnx_runtime
from xpoll.student.inference.model import StudentModel
from xpoll.student.inference.onnx_export import export_onnx
from xpoll.student.inference.predict import predict_file
from xpoll.student.training.encoder import load_for_training

TEXTS = [document.text for document in documents(40, seed=3)]


@pytest.fixture
def student(encoder: Path, tmp_path: Path) -> Path:
    """A student whose head nobody has trained: what it says plays no part here."""
    return untrained_student(encoder, tmp_path / "run" / "student")


def untrained_student(encoder: Path, folder: Path, *, head: str = "label") -> Path:
    made = load_for_training(settings(encoder), LABELS, seed=0, form=HEADS[head].form)
    made.model.save_pretrained(folder)
    made.tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.engine  # the exporter alone takes ten seconds
def test_a_student_as_onnx_answers_as_pytorch_does(student: Path, tmp_path: Path) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    done = export_onnx(student, TEXTS)
    assert done.tried_on == 42 and done.most_off < 1e-4
    assert [path.name for path in (student / "onnx").iterdir()] == ["model.onnx"]
    unseen = [document.text for document in documents(60, seed=9)]
    plain, exported = StudentModel(student), StudentModel(student, runtime="onnx")
    for some in (unseen, unseen[:1], [" ".join(unseen)]):
        np.testing.assert_allclose(exported.probabilities(some), plain.probabilities(some), atol=1e-5)
    (tmp_path / "texts.csv").write_text("text\n" + "".join(f"{text}\n" for text in TEXTS))
    written = predict_file(
        student, str(tmp_path / "texts.csv"), tmp_path / "out.csv", text_column="text", runtime="onnx"
    )
    assert written == (40, 0, None)
    with pytest.raises(ConfigError, match="no provider 'NoProvider' here -> name one of: .*CPUExecutionProvider"):
        StudentModel(student, runtime="onnx", device="NoProvider")
    (student / "onnx" / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(ModelError, match="model.onnx cannot be run: .* -> xpoll export"):
        StudentModel(student, runtime="onnx")


class Other:
    """Stands in for ONNX Runtime with a file that says something else."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __call__(self, batches: list[dict[str, np.ndarray]]) -> list[np.ndarray]:
        return [np.full((len(batch["input_ids"]), 3), 0.5, np.float32) for batch in batches]


def test_a_file_that_answers_otherwise_takes_no_place(student: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_export, "require_runtime", lambda *_: None)
    monkeypatch.setattr(onnx_export, "_write", lambda _, path: path.write_bytes(b"a graph"))
    monkeypatch.setattr(onnx_export, "OnnxForward", Other)
    with pytest.raises(ModelError, match="ONNX Runtime's logits differ from PyTorch's by .* -> xpoll predict runs it"):
        export_onnx(student, TEXTS)
    assert not (student / "onnx").exists()
    monkeypatch.setattr(onnx_export, "MOST_OFF", 1e9)
    done = export_onnx(student, TEXTS)
    assert (done.num_bytes, done.tried_on) == (7, 42) and done.most_off > 0.1


def test_what_is_missing_is_named(student: Path, monkeypatch: pytest.MonkeyPatch, xpoll: Xpoll) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    done = xpoll("export", student, "--onnx")
    assert done.returncode == 2, done.stderr
    assert (
        done.stderr
        == "xpoll: ONNX needs the package onnx -> pip install onnx onnxruntime onnxscript, or --runtime pytorch\n"
    )
    monkeypatch.undo()
    monkeypatch.setattr(onnx_runtime, "require_runtime", lambda *_: None)
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", onnx_runtime)
    with pytest.raises(ModelError, match="model.onnx is not there -> xpoll export .* --onnx"):
        StudentModel(student, runtime="onnx")
