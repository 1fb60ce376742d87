"""[student.trainer] goes to transformers.TrainingArguments as it is, or is refused in one line before training."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainingArguments
from transformers.integrations import TensorBoardCallback

from tests.support.toy import LABELS, documents, settings
from xpoll.core.errors import ConfigError
from xpoll.student.train import check_student, train_student
from xpoll.student.training import arguments as module
from xpoll.student.training.arguments import arguments, num_epochs


def test_the_table_wins_over_what_xpoll_would_set(tmp_path: Path) -> None:
    table = {"weight_decay": 0.2, "gradient_accumulation_steps": 4, "lr_scheduler_type": "cosine", "max_grad_norm": 5}
    config = settings(tmp_path, epochs=1, min_steps=10, trainer=table)
    check_student(config)
    made = arguments(config, "fp32", seed=3, num_rows=64, judged=False, checkpoints=tmp_path)
    assert (made.weight_decay, made.gradient_accumulation_steps, made.max_grad_norm) == (0.2, 4, 5)
    assert made.lr_scheduler_type == "cosine" and made.seed == 3
    assert num_epochs(config, 64) == made.num_train_epochs == 10, "one pass of 64 rows is one step of 4 batches of 16"


def test_what_is_reported_is_of_the_student_and_not_of_its_judges(tmp_path: Path) -> None:
    config = settings(tmp_path, trainer={"report_to": ["tensorboard"]})
    for reported in (True, False):
        made = arguments(config, "fp32", seed=0, num_rows=8, judged=False, checkpoints=tmp_path, reported=reported)
        assert made.report_to == (["tensorboard"] if reported else [])


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            {"weight_decy": 0.1},
            "unknown config key student.trainer.weight_decy -> did you mean student.trainer.weight_decay?",
        ),
        ({"output_dir": "x"}, "student.trainer.output_dir cannot be set: a student is written below job.run_folder"),
        (
            {"seed": 1},
            "student.trainer.seed cannot be set: the seed is job.seed -> leave seed out of [student.trainer]",
        ),
        ({"per_device_train_batch_size": 4}, "it is student.batch_size"),
        ({"hub_token": "x"}, "cannot be set: xpoll export --push-to-hub uploads a student"),
        ({"push_to_hub": True}, "cannot be set: xpoll export --push-to-hub uploads a student"),
        ({"weight_decay": "much"}, "student.trainer.weight_decay must be a number, got 'much'"),
        ({"full_determinism": 1}, "student.trainer.full_determinism must be true or false, got 1"),
        ({"lr_scheduler_type": "wavy"}, "student.trainer: wavy is not a valid SchedulerType"),
        ({"report_to": "nobody"}, "student.trainer: nobody is not supported"),
    ],
)
def test_a_wrong_table_is_one_line_before_training(
    encoder: Path, tmp_path: Path, table: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        train_student(
            documents(12), LABELS, config=settings(encoder, trainer=table), seed=0, output=tmp_path / "student"
        )
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_a_missing_package_for_reports_is_named_before_training(encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: object) -> None:
        raise RuntimeError("TensorBoardCallback requires tensorboard to be installed.")

    monkeypatch.setattr(TensorBoardCallback, "__init__", missing)
    with pytest.raises(ConfigError, match="requires tensorboard to be installed"):
        check_student(settings(encoder, trainer={"report_to": "tensorboard"}))


def test_names_that_xpoll_owns_are_names_of_transformers() -> None:
    assert set(module._OWNED) <= {field.name for field in dataclasses.fields(TrainingArguments)}
