"""One tiny encoder and one student trained from it, shared by the tests of this folder."""

from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.toy import LABELS, documents, make_encoder, row, settings
from xpoll.student.training_record import Training


class Trained(NamedTuple):
    folder: Path
    training: Training


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="session")
def trained(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A student of 150 decided rows, beside 2 abstentions and a gold row that it must not see."""
    from xpoll.student.train import train_student

    folder = tmp_path_factory.mktemp("run") / "student"
    rows = [*documents(150), row(150, None), row(151, None), row(152, "bad", split="gold", gold="bad")]
    return Trained(folder, train_student(rows, LABELS, config=settings(encoder), seed=1, output=folder))
