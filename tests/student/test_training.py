"""A student learns, keeps the label names, and is written whole or not at all."""

import json
import math
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.student.conftest import Trained
from tests.support.toy import LABELS, TELLING, documents, make_encoder, row, settings
from xpoll.core.errors import ConfigError, InputError, ModelError, RunFolderError
from xpoll.student.calibration import fitted_temperature, softmax
from xpoll.student.folder import read_training
from xpoll.student.inference.model import StudentModel
from xpoll.student.train import train_student


def test_a_student_learns_a_separable_task(trained: Trained) -> None:
    unseen = documents(90, seed=7)
    probabilities = StudentModel(trained.folder).probabilities([document.text for document in unseen])
    right = [LABELS[best] == document.label for best, document in zip(probabilities.argmax(1), unseen, strict=True)]
    assert sum(right) / len(right) > 0.9


def test_transformers_pipeline_names_the_tasks_labels_and_cuts_long_texts(trained: Trained) -> None:
    from transformers import pipeline

    classify = pipeline("text-classification", model=str(trained.folder), device="cpu")
    assert classify.tokenizer.model_max_length == 32
    for label, word in TELLING.items():
        long_text = f"the firm said {word} " + "today " * 200
        assert classify(long_text, truncation=True)[0]["label"] == label


def test_training_json_says_what_was_trained_on_what(trained: Trained, encoder: Path) -> None:
    assert read_training(trained.folder) == trained.training
    expected = {
        "schema_version": 1,
        "recipe": "plain",
        "backend": "native",
        "encoder": str(encoder),
        "rows": 150,
        "abstained": 2,
        "label_counts": {"bad": 50, "fair": 50, "good": 50},
        "soft_labels": True,
        "epochs": 8,
        "learning_rate": 1e-2,
        "batch_size": 16,
        "max_length": 32,
        "seed": 1,
        "precision": "fp32",
    }
    assert trained.training.model_dump().items() >= expected.items()
    assert trained.training.wall_s > 0 and trained.training.rows_per_s > 0
    assert trained.training.final_loss < 0.3 < math.log(3)


def test_a_training_json_of_another_version_or_cut_is_one_line(trained: Trained, tmp_path: Path) -> None:
    known = json.loads((trained.folder / "training.json").read_text())
    for text, reason in (
        (
            json.dumps(known | {"refine": "cotrain", "schema_version": 0}),
            "cannot be read: 2 keys are not of this version",
        ),
        ('{"rows": 1', "is not JSON: Expecting"),
    ):
        (tmp_path / "training.json").write_text(text)
        with pytest.raises(ModelError, match=f"training.json {reason}.* -> train anew") as refused:
            read_training(tmp_path)
        assert "\n" not in str(refused.value) and str(refused.value).count(" -> ") == 1


def test_texts_on_which_the_votes_abstained_are_counted_and_not_trained_on(encoder: Path, tmp_path: Path) -> None:
    rows = [*documents(60), row(60, None, text="loss")]
    training = train_student(rows, LABELS, config=settings(encoder, epochs=1), seed=0, output=tmp_path / "student")
    assert (training.rows, training.abstained) == (60, 1)


def test_probabilities_are_the_softmax_of_the_logits_over_the_temperature() -> None:
    logits = np.array([[2.0, 0.0, -1.0], [500.0, 0.0, 1.0]], np.float32)
    shares = np.exp(logits[0] / 2.5) / np.exp(logits[0] / 2.5).sum()
    np.testing.assert_allclose(softmax(logits, 2.5), [shares, [1, 0, 0]], atol=1e-6)
    truth = np.random.default_rng(0).normal(size=(500, 3))
    assert fitted_temperature(4 * truth, softmax(truth)) == pytest.approx(4, abs=0.01)


def test_soft_targets_teach_doubt_and_hard_targets_do_not(encoder: Path, tmp_path: Path) -> None:
    doubtful = [
        row(
            i,
            document.label,
            text=document.text,
            distribution=[0.7 if name == document.label else 0.15 for name in LABELS],
        )
        for i, document in enumerate(documents(60))
    ]
    confidence, loss = {}, {}
    for soft in (True, False):
        config = settings(encoder, soft_labels=soft, epochs=15)
        loss[soft] = train_student(doubtful, LABELS, config=config, seed=0, output=tmp_path / str(soft)).final_loss
        probabilities = StudentModel(tmp_path / str(soft)).probabilities([document.text for document in doubtful])
        confidence[soft] = float(probabilities.max(1).mean())
    entropy = -(0.7 * math.log(0.7) + 0.3 * math.log(0.15))
    assert 0.6 < confidence[True] < 0.8 < 0.9 < confidence[False], confidence
    assert loss[False] < 0.3 < entropy - 0.01 < loss[True], loss


def test_the_same_seed_gives_the_same_student_and_bf16_is_recorded(encoder: Path, tmp_path: Path) -> None:
    config = settings(encoder, epochs=1, precision="bf16")
    losses = []
    for name, seed in (("first", 3), ("again", 3), ("other", 4)):
        training = train_student(documents(24), LABELS, config=config, seed=seed, output=tmp_path / name)
        assert training.precision == "bf16"
        losses.append(training.final_loss)
    assert losses[0] == losses[1] != losses[2]


def test_a_second_training_replaces_the_first_and_leaves_nothing_beside_it(encoder: Path, tmp_path: Path) -> None:
    output = tmp_path / "student"
    for epochs in (0.5, 1.0):
        train_student(documents(12), LABELS, config=settings(encoder, epochs=epochs), seed=0, output=output)
        (output / "left-over").touch()
    train_student(documents(12), LABELS, config=settings(encoder, epochs=1.0), seed=0, output=output)
    assert not (output / "left-over").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["student"]


def test_a_folder_that_is_no_student_is_never_replaced(encoder: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(RunFolderError, match="holds files that are no student"):
        train_student(documents(6), LABELS, config=settings(encoder), seed=0, output=tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_an_output_below_a_file_is_refused_before_training(encoder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError, match="cannot write"):
        train_student(documents(6), LABELS, config=settings(encoder), seed=0, output=tmp_path / "file" / "student")


@contextmanager
def largest_file(num_bytes: int) -> Iterator[None]:
    """Makes writes fail as on a full disk, also those of safetensors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_one_line_and_leaves_the_old_student(encoder: Path, tmp_path: Path) -> None:
    output = tmp_path / "student"
    config = settings(encoder, epochs=0.5)
    before = train_student(documents(6), LABELS, config=config, seed=0, output=output)
    with largest_file(4000), pytest.raises(RunFolderError, match=r"cannot write .*File too large"):
        train_student(documents(6), LABELS, config=config, seed=1, output=output)
    assert read_training(output) == before
    assert [path.name for path in tmp_path.iterdir()] == ["student"]


def test_training_that_diverges_is_an_error_and_writes_nothing(encoder: Path, tmp_path: Path) -> None:
    config = settings(encoder, learning_rate=1e30, epochs=3)
    with pytest.raises(ModelError, match="training diverged.*-> lower student.learning_rate"):
        train_student(documents(24), LABELS, config=config, seed=0, output=tmp_path / "student")
    assert not list(tmp_path.iterdir())


def test_an_encoder_folder_without_weights_or_with_foreign_ones_is_refused(tmp_path: Path) -> None:
    no_weights, foreign = make_encoder(tmp_path / "no-weights"), make_encoder(tmp_path / "foreign")
    (no_weights / "model.safetensors").unlink()
    config = json.loads((foreign / "config.json").read_text())
    (foreign / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    for folder, reason in ((no_weights, "cannot be loaded"), (foreign, "holds no weights for")):
        with pytest.raises(ModelError, match=reason) as refused:
            train_student(documents(6), LABELS, config=settings(folder), seed=0, output=tmp_path / "student")
        assert "\n" not in str(refused.value)
    assert not (tmp_path / "student").exists()


def test_a_max_length_beyond_the_encoders_positions_is_refused(encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="reads at most 64 tokens.*--set student.max_length=64"):
        train_student(
            documents(6), LABELS, config=settings(encoder, max_length=65), seed=0, output=tmp_path / "student"
        )


def test_an_encoder_fine_tuned_for_other_labels_gets_a_new_head(trained: Trained, tmp_path: Path) -> None:
    rows = [row(i, LABELS[i % 2], text="loss", distribution=(1 - i % 2, i % 2)) for i in range(8)]
    train_student(rows, LABELS[:2], config=settings(trained.folder, epochs=1), seed=0, output=tmp_path / "student")
    assert StudentModel(tmp_path / "student").labels == ["bad", "fair"]


def test_training_keeps_transformers_own_output_off_the_terminal(
    encoder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    train_student(documents(12), LABELS, config=settings(encoder, epochs=1), seed=0, output=tmp_path / "student")
    printed = capfd.readouterr()
    assert printed.out == ""
    foreign = [
        line for line in printed.err.splitlines() if not line.startswith(("loading encoder", "training student"))
    ]
    assert not foreign


def test_a_class_without_an_example_is_named_counted_and_never_answered(
    encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [document for document in documents(90) if document.label != "fair"]
    training = train_student(rows, LABELS, config=settings(encoder), seed=0, output=tmp_path / "student")
    assert training.label_counts == {"bad": 30, "fair": 0, "good": 30}
    assert capsys.readouterr().err.count("no text was voted 'fair'; the student will not answer so") == 1
    student = StudentModel(tmp_path / "student")
    assert student.labels == LABELS
    assert 1 not in student.probabilities([document.text for document in documents(30, seed=5)]).argmax(1)


def test_one_row_or_nothing_but_abstentions_is_refused_and_writes_nothing(encoder: Path, tmp_path: Path) -> None:
    for rows, reason in (
        ([row(0, "bad")], "the only decided document is labelled 'bad'"),
        ([row(0, None)], "the panel was torn about 1"),
    ):
        with pytest.raises(InputError, match=reason):
            train_student(rows, LABELS, config=settings(encoder), seed=0, output=tmp_path / "student")
    assert not list(tmp_path.iterdir())
