"""Trainings that differ in the order of their rows, averaged into one student."""

from pathlib import Path

import numpy as np
from safetensors.torch import load_file

from tests.support.toy import LABELS, documents, settings
from xpoll.student.inference.model import StudentModel
from xpoll.student.train import train_student
from xpoll.student.training.average import BETWEEN

TEXTS = ["the firm said loss", "flat today", "a gain"]


def test_an_averaged_student_has_the_mean_weights_of_its_trainings(encoder: Path, tmp_path: Path) -> None:
    training = train_student(
        documents(60), LABELS, config=settings(encoder, average=2), seed=4, output=tmp_path / "student"
    )
    assert training["average"] == 2
    assert not (tmp_path / ".student.training").exists()
    made = load_file(tmp_path / "student" / "model.safetensors")
    alone = train_student(documents(60), LABELS, config=settings(encoder), seed=4, output=tmp_path / "alone")
    first = load_file(tmp_path / "alone" / "model.safetensors")
    assert training["wall_s"] > alone["wall_s"] > 0
    moved = {name for name in made if not np.allclose(made[name], first[name], atol=1e-6)}
    assert moved, "the second training has its own order of rows, so the mean is not the first"
    answers = [StudentModel(tmp_path / name).probabilities(TEXTS).argmax(1).tolist() for name in ("student", "alone")]
    assert answers[0] == answers[1] == [0, 1, 2]
    assert BETWEEN > 1000, "seeds of other students count up by one"
