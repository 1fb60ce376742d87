"""A training resumes after a kill, stops when held-out votes say so, and can be repeated and varied."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import ROOT
from tests.support.toy import LABELS, documents, row, settings
from xpoll.core.errors import ConfigError, ModelError
from xpoll.core.machine.device import best_device
from xpoll.student.dataset import split
from xpoll.student.inference.model import StudentModel
from xpoll.student.recipe import Recipe
from xpoll.student.train import train_student
from xpoll.student.training import frozen
from xpoll.student.training.arguments import attention_for_training
from xpoll.student.training.checkpoints import last_checkpoint, open_checkpoints
from xpoll.student.training.encoder import load_for_training, load_student
from xpoll.student.training.objectives import DistributionObjective

TEXTS = ["the firm said loss", "flat today", "a gain"]

KILLED_AT_STEP = 6
KILLED = """
import os
import signal
import sys
from pathlib import Path
from tests.support.toy import LABELS, documents, settings
from xpoll.student.train import train_student
from xpoll.student.training import callbacks

at_step, encoder, output = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
ask = callbacks.TimedCheckpoint.on_step_end


def ask_or_end(self, arguments, state, control, **more):
    if state.global_step == at_step:
        os.kill(os.getpid(), signal.SIGKILL)
    return ask(self, arguments, state, control, **more)


callbacks.TimedCheckpoint.__init__.__defaults__ = (0.0,)
callbacks.TimedCheckpoint.on_step_end = ask_or_end
train_student(documents(60), LABELS, config=settings(encoder, epochs=3), seed=5, output=output)
"""


@pytest.mark.engine
def test_a_training_that_was_killed_goes_on_to_the_same_student(encoder: Path, tmp_path: Path) -> None:
    output = tmp_path / "student"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(KILLED_AT_STEP), str(encoder), str(output)], cwd=ROOT)
    assert killed.returncode == -signal.SIGKILL and not output.exists()
    config = settings(encoder, epochs=3)
    resumed = train_student(documents(60), LABELS, config=config, seed=5, output=output)
    assert resumed.resumed_at_step == KILLED_AT_STEP - 1
    whole = train_student(documents(60), LABELS, config=config, seed=5, output=tmp_path / "whole")
    assert whole.resumed_at_step == 0
    ours, theirs = (StudentModel(folder).probabilities(TEXTS) for folder in (output, tmp_path / "whole"))
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["student", "whole"]


def test_a_cut_checkpoint_is_named_and_passed_over_for_the_one_before_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for step in (9, 10):
        write_checkpoint(tmp_path / f"checkpoint-{step}")
    (tmp_path / "checkpoint-10" / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{")
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-9"
    assert not (tmp_path / "checkpoint-10").exists()
    assert capsys.readouterr().err.startswith("checkpoint-10 is cut or broken")
    (tmp_path / "checkpoint-9" / "trainer_state.json").write_text('{"epoch": ')
    assert last_checkpoint(tmp_path) is None


def write_checkpoint(folder: Path) -> None:
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    for name in ("optimizer.pt", "scheduler.pt"):
        (folder / name).write_bytes(b"x")
    (folder / "trainer_state.json").write_text("{}")


def test_checkpoints_of_another_training_are_not_resumed(tmp_path: Path) -> None:
    first = open_checkpoints(tmp_path / "student", {"seed": 1}, [["text", 1.0]])
    (first / "0").mkdir()
    assert (open_checkpoints(tmp_path / "student", {"seed": 1}, [["text", 1.0]]) / "0").exists()
    assert not (open_checkpoints(tmp_path / "student", {"seed": 1}, [["text", 0.9]]) / "0").exists()
    (first / "0").mkdir()
    assert not (open_checkpoints(tmp_path / "student", {"seed": 2}, [["text", 0.9]]) / "0").exists()


def test_training_stops_when_the_held_out_votes_get_worse_and_keeps_the_best_pass(
    encoder: Path, tmp_path: Path
) -> None:
    right = documents(120)
    noisy = [voted._replace(label=LABELS[i % 2], distribution=(1 - i % 2, i % 2, 0)) for i, voted in enumerate(right)]
    config = settings(encoder, epochs=60, held_out=0.3, learning_rate=3e-2)
    training = train_student(noisy, LABELS, config=config, seed=0, output=tmp_path / "student")
    assert training.held_out_rows == 36
    assert training.epochs < 60
    assert training.held_out_loss < 1.2 * np.log(2), "the weights kept are those of the best pass"


def test_the_temperature_of_held_out_votes_is_saved_and_used(encoder: Path, tmp_path: Path) -> None:
    wrong_fifth = [
        voted._replace(label=LABELS[(i + (i % 5 == 0)) % 3], distribution=one_hot((i + (i % 5 == 0)) % 3))
        for i, voted in enumerate(documents(200))
    ]
    config = settings(encoder, held_out=0.3, epochs=12)
    training = train_student(wrong_fifth, LABELS, config=config, seed=0, output=tmp_path / "student")
    noted = json.loads((tmp_path / "student" / "calibration.json").read_text())
    assert noted == {"temperature": training.temperature, "held_out_rows": training.held_out_rows}
    confident = StudentModel(tmp_path / "student").probabilities(TEXTS).max(1)
    (tmp_path / "student" / "calibration.json").unlink()
    plain = StudentModel(tmp_path / "student").probabilities(TEXTS).max(1)
    assert (confident < plain).all() == (training.temperature > 1)
    assert not np.allclose(confident, plain)
    (tmp_path / "student" / "calibration.json").write_text('{"temperature": "hot"}')
    with pytest.raises(ModelError, match="says no temperature"):
        StudentModel(tmp_path / "student")


def one_hot(number: int) -> tuple[float, ...]:
    return tuple(float(i == number) for i in range(3))


def test_rows_are_held_out_by_label_and_never_the_last_of_one() -> None:
    rows = [row(i, LABELS[i % 2]) for i in range(399)] + [row(399, LABELS[2])]
    train, held_out = split(rows, share=0.1, seed=0)
    assert sorted([*train, *held_out]) == list(range(400))
    assert Counter(rows[i].label for i in held_out) == {LABELS[0]: 20, LABELS[1]: 20}
    assert 399 in train
    assert split(rows, share=0.1, seed=0).held_out == held_out != split(rows, share=0.1, seed=1).held_out
    assert split(rows[:200], share=0.1, seed=0).held_out == [], "20 rows are too few to judge by"


def test_several_seeds_differ_and_their_spread_is_noted(encoder: Path, tmp_path: Path) -> None:
    config = settings(encoder, epochs=1, seeds=3, held_out=0.3)
    training = train_student(documents(120), LABELS, config=config, seed=4, output=tmp_path / "student")
    assert [each.seed for each in training.seeds] == [4, 5, 6]
    accuracies = [each.held_out_accuracy for each in training.seeds]
    assert training.held_out_accuracy_mean == pytest.approx(np.mean(accuracies))
    assert training.held_out_accuracy_sd == pytest.approx(np.std(accuracies, ddof=1))
    folders = [tmp_path / "student", *(tmp_path / "student" / "seeds" / str(seed) for seed in (5, 6))]
    first, second, third = (StudentModel(folder).probabilities(TEXTS) for folder in folders)
    assert not np.allclose(first, second) and not np.allclose(second, third)
    alone = train_student(
        documents(120), LABELS, config=settings(encoder, epochs=1, held_out=0.3), seed=4, output=tmp_path / "alone"
    )
    assert alone.final_loss == training.final_loss
    assert not alone.seeds and not (tmp_path / "alone" / "seeds").exists()


def test_accumulated_batches_learn_as_one_large_batch_does(encoder: Path, tmp_path: Path) -> None:
    made = {}
    same_length = [row(i, LABELS[i % 3], text=f"the {word}") for i, word in enumerate(["loss", "flat", "gain"] * 8)]
    for name, changes in {
        "large": {"batch_size": 8},
        "added": {"batch_size": 2, "trainer": {"gradient_accumulation_steps": 4}},
    }.items():
        config = settings(encoder, epochs=4, **changes)
        train_student(same_length, LABELS, config=config, seed=0, output=tmp_path / name)
        made[name] = StudentModel(tmp_path / name).probabilities(TEXTS)
    np.testing.assert_allclose(made["large"], made["added"], atol=1e-3)


def test_frozen_parts_keep_their_weights_and_the_rest_learns(encoder: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    before = load_file(encoder / "model.safetensors")
    train_student(documents(24), LABELS, config=settings(encoder, frozen=2), seed=0, output=tmp_path / "student")
    after = load_file(tmp_path / "student" / "model.safetensors")
    same = {name for name in before if np.array_equal(before[name], after[f"bert.{name}"])}
    assert {name for name in before if "embeddings" in name or "layer.0." in name} == same
    with pytest.raises(ConfigError, match="the encoder has embeddings and 2 layers"):
        train_student(documents(24), LABELS, config=settings(encoder, frozen=3), seed=0, output=tmp_path / "more")


def test_tokens_that_no_text_has_keep_their_embeddings(encoder: Path, tmp_path: Path) -> None:
    config = settings(encoder, epochs=1)
    tokenizer, model = load_for_training(config, LABELS, seed=0)
    before = model.get_input_embeddings().weight.detach().clone()
    train_student(documents(60), LABELS, config=config, seed=0, output=tmp_path / "student")
    after = load_student(str(tmp_path / "student")).model.get_input_embeddings().weight
    assert torch.equal(after[tokenizer.mask_token_id], before[tokenizer.mask_token_id])
    assert not torch.equal(after[tokenizer.cls_token_id], before[tokenizer.cls_token_id])


def test_frozen_parts_give_the_same_student_computed_once_or_in_every_step(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {}
    for name, most in (("once", frozen.MOST_BYTES), ("every step", 0)):
        monkeypatch.setattr(frozen, "MOST_BYTES", most)
        config = settings(encoder, frozen=2, held_out=0.5)
        train_student(documents(90), LABELS, config=config, seed=0, output=tmp_path / name)
        made[name] = StudentModel(tmp_path / name).probabilities(TEXTS)
    np.testing.assert_allclose(made["once"], made["every step"], atol=1e-3)


def test_dropout_of_the_recipe_stands_in_place_of_the_encoders(encoder: Path, tmp_path: Path) -> None:
    config, recipe = settings(encoder, epochs=1), Recipe(dropout=0.3)
    train_student(documents(12), LABELS, config=config, seed=0, output=tmp_path / "student", recipe=recipe)
    saved = json.loads((tmp_path / "student" / "config.json").read_text())
    assert saved["hidden_dropout_prob"] == saved["attention_probs_dropout_prob"] == 0.3


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_only_bf16_on_a_cpu_leaves_fused_attention_and_only_while_it_trains(encoder: Path, precision: str) -> None:
    if best_device().type != "cpu":
        pytest.skip("this machine trains on a GPU")
    loaded = load_for_training(settings(encoder), LABELS, seed=0)
    usual = loaded.model.config._attn_implementation
    with attention_for_training(loaded.model, precision):
        within = loaded.model.config._attn_implementation
    assert within == ("eager" if precision == "bf16" else usual)
    assert loaded.model.config._attn_implementation == usual != "eager"


def test_the_loss_counts_what_the_model_agrees_with() -> None:
    import torch

    loss = DistributionObjective()
    logits = torch.tensor([[2.0, 0, 0], [0, 2.0, 0], [0, 0, 2.0], [0, 0, 2.0]])
    targets = torch.tensor([[1.0, 0, 0], [0, 0.5, 0], [0, 1.0, 0], [0, 0.2, 0.3]])
    value = loss(type("Outputs", (), {"logits": logits})(), targets)
    assert loss.take_accuracy() == 0.75
    assert value.item() == pytest.approx(-(targets * logits.log_softmax(-1)).sum().item() / 4)


def test_a_learning_curve_ends_with_the_student_and_forecasts(encoder: Path, tmp_path: Path) -> None:
    config = settings(encoder, epochs=4, held_out=0.3, learning_curve=[0.25, 0.5])
    training = train_student(documents(150), LABELS, config=config, seed=0, output=tmp_path / "student")
    assert [point.rows for point in training.learning_curve] == [26, 52, 105]
    assert training.learning_curve[-1].accuracy == training.held_out_accuracy
    assert training.forecast is not None and training.forecast.rows == 210
    with pytest.raises(ConfigError, match="needs held-out texts"):
        config = settings(encoder, epochs=1, learning_curve=[0.5])
        train_student(documents(12), LABELS, config=config, seed=0, output=tmp_path / "few")


def test_tensorboard_logs_lie_beside_the_student(encoder: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    config = settings(encoder, epochs=1, trainer={"report_to": "tensorboard"})
    train_student(documents(24), LABELS, config=config, seed=3, output=tmp_path / "student")
    assert list((tmp_path / "student-logs" / "3").glob("events*"))
    assert "TENSORBOARD_LOGGING_DIR" not in os.environ


@pytest.mark.engine
def test_two_processes_train_one_student(encoder: Path, tmp_path: Path) -> None:
    config, recipe = settings(encoder, devices=2, batch_size=8, epochs=8), Recipe(mixup=0.5)
    train_student(documents(150), LABELS, config=config, seed=0, output=tmp_path / "student", recipe=recipe)
    unseen = documents(90, seed=7)
    found = StudentModel(tmp_path / "student").probabilities([document.text for document in unseen]).argmax(1)
    assert np.mean([LABELS[best] == each.label for best, each in zip(found, unseen, strict=True)]) > 0.9
    assert [path.name for path in tmp_path.iterdir()] == ["student"]
