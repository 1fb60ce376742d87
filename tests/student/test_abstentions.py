"""Texts on which the votes abstained are left out, or trained on with their distribution at a weight."""

from pathlib import Path

import pytest

from tests.support.toy import LABELS, documents, row, settings
from xpoll.core.errors import ConfigError
from xpoll.core.records import NO_READABLE_VOTE, Consensus
from xpoll.student.inference.model import StudentModel
from xpoll.student.train import train_student

TIE = (0.0, 0.5, 0.5)


def decided_and_tied() -> list[Consensus]:
    """Texts of two labels, and those of the third, on which the votes are torn between it and the second."""
    rows = documents(150)
    return [each._replace(label=None, distribution=TIE) if each.label == "good" else each for each in rows]


def test_a_tie_is_learned_as_a_tie(encoder: Path, tmp_path: Path) -> None:
    rows = decided_and_tied()
    unread = row(500, None, text="gain")._replace(abstained=NO_READABLE_VOTE, distribution=(1 / 3,) * 3)
    config = settings(encoder, abstained_weight=0.5, held_out=0.0)
    training = train_student([*rows, unread], LABELS, config=config, seed=0, output=tmp_path / "student")
    assert (training["rows"], training["abstained"]) == (100, 51)
    assert (training["abstained_trained"], training["abstained_weight"], training["self_trained"]) == (50, 0.5, 0)
    tied = [each.text for each in rows if each.label is None]
    bad, fair, good = StudentModel(tmp_path / "student").probabilities(tied).mean(0)
    assert bad < 0.05 and fair == pytest.approx(0.5, abs=0.1) and good == pytest.approx(0.5, abs=0.1)


def test_a_smaller_weight_moves_the_student_less(encoder: Path, tmp_path: Path) -> None:
    # The same words as of a decided label: the student weighs 50 texts that say "fair" against 50 that are torn.
    fair = [each for each in documents(150) if each.label == "fair"]
    torn = [each._replace(document_id=f"torn-{each.document_id}", label=None, distribution=TIE) for each in fair]
    bad = [each for each in documents(150) if each.label == "bad"]
    shares = []
    for weight in (0.0, 0.2, 1.0):
        config = settings(encoder, abstained_weight=weight, held_out=0.0)
        train_student([*bad, *fair, *torn], LABELS, config=config, seed=0, output=tmp_path / "student")
        shares.append(StudentModel(tmp_path / "student").probabilities([each.text for each in fair]).mean(0)[2])
    assert shares[0] < 0.03
    assert shares == pytest.approx([0, 0.2 * 0.5 / 1.2, 0.25], abs=0.05)


def test_one_thing_is_done_with_abstentions(encoder: Path, tmp_path: Path) -> None:
    config = settings(encoder, abstained_weight=0.5, self_training=True)
    with pytest.raises(ConfigError, match=r"student\.abstained_weight .* student\.self_training .* -> --set"):
        train_student(decided_and_tied(), LABELS, config=config, seed=0, output=tmp_path / "student")
    assert not (tmp_path / "student").exists()
