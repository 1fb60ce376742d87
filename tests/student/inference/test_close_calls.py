"""A label that INT8 may have got wrong is decided in fp32."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.student.conftest import Trained
from tests.support.toy import documents
from xpoll.core.errors import ModelError
from xpoll.student.inference import model as model_module
from xpoll.student.inference.close_calls import close_calls, close_lead
from xpoll.student.inference.logits import Forward
from xpoll.student.inference.model import StudentModel
from xpoll.student.inference.torch_forward import TorchForward, devices_named
from xpoll.student.intel.openvino_step import close_call

LOGITS = np.array([[2.0, 1.9, 0.0], [0.0, 3.0, 1.0], [-1.0, -1.5, -1.2], [0.5, 0.5, 0.5]], np.float32)


def test_a_close_call_is_a_small_lead_over_the_second_label() -> None:
    assert close_calls(LOGITS, 0.15).tolist() == [0, 3]
    assert close_calls(LOGITS, 0.25).tolist() == [0, 2, 3]
    assert close_calls(LOGITS, 0.0).tolist() == []
    assert close_calls(np.empty((0, 3), np.float32), 1.0).tolist() == []


def test_a_lead_is_off_by_what_two_logits_are_off_together() -> None:
    off = np.zeros((100, 3), np.float32)
    off[:50] = [0.1, -0.2, 0.05]
    off[50] = [9.0, 0.0, 0.0]  # one odd text
    off[60:] = 5.0  # alike for all labels, so no lead changes
    exact = np.repeat(LOGITS, 25, axis=0)
    found = close_call(exact, exact + off)
    assert found["lead"] == pytest.approx(0.3)
    leads = np.sort(exact + off, axis=1)
    assert found["share"] == np.mean(leads[:, 2] - leads[:, 1] < 0.3) > 0.4


@pytest.mark.parametrize("text", [None, "", "{}", '{"lead": null}', "[]", '{"lead": "wide"}'])
def test_an_export_that_does_not_say_what_is_close_is_refused(tmp_path: Path, text: str | None) -> None:
    place = tmp_path / "openvino" / "int8"
    place.mkdir(parents=True)
    if text is not None:
        (place / "close_call.json").write_text(text)
    with pytest.raises(ModelError, match="close_call.json .* -> xpoll export"):
        close_lead(tmp_path, "int8")


def test_close_calls_get_the_answer_of_fp32_and_no_other_text_does(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenVINO is stood in for by PyTorch, whose logits are off by a little in place of INT8's."""
    student = tmp_path / "student"
    shutil.copytree(trained.folder, student)
    texts = [document.text for document in documents(60, seed=9)]
    exact = StudentModel(student)
    plain = exact.probabilities(texts)
    forward = TorchForward(exact._encoder.model, devices_named("cpu"))

    def runtime(folder: Path, name: str, *, device: str, in_fp32: bool = False) -> Forward:
        return lambda batches: [found if in_fp32 else found - [[0.0, 0.3, 0.0]] for found in forward(batches)]

    monkeypatch.setattr(model_module, "OpenVinoForward", runtime)
    (student / "openvino" / "int8").mkdir(parents=True)
    close = float(np.quantile(leads(plain), 0.5))
    (student / "openvino" / "int8" / "close_call.json").write_text(json.dumps({"lead": close}))
    int8 = StudentModel(student, runtime="openvino-int8")
    found = int8.probabilities(texts)
    same = np.abs(found - plain).max(1) < 1e-6
    assert 0 < int8.num_again == same.sum() < 60


def leads(probabilities: np.ndarray) -> np.ndarray:
    second, best = np.sort(np.log(probabilities), axis=1)[:, -2:].T
    lead: np.ndarray = best - second
    return lead
