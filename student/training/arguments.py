"""The [student] section as transformers.TrainingArguments. Imports torch: import it where it is needed."""

import dataclasses
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import TrainingArguments
from transformers.integrations.integration_utils import get_reporting_integration_callbacks
from transformers.utils import is_torch_bf16_gpu_available

from xpoll.core.config.file import nearest
from xpoll.core.config.job import StudentConfig
from xpoll.core.errors import ConfigError
from xpoll.core.machine.device import best_device
from xpoll.core.machine.environment import computes_bf16

NUM_LOSS_LINES = 20
"""How many times the loss is read off the device in one training."""

OWNED_ALWAYS = {
    "output_dir": "a student is written below job.run_folder",
    "learning_rate": "it is student.learning_rate",
    "disable_tqdm": "xpoll shows its own progress",
    "logging_nan_inf_filter": "a loss that is no number ends the training",
    **dict.fromkeys(["num_train_epochs", "max_steps"], "student.epochs and student.min_steps say how long"),
    **dict.fromkeys(["per_device_train_batch_size", "auto_find_batch_size"], "it is student.batch_size"),
    **dict.fromkeys(["seed", "data_seed"], "the seed is job.seed"),
    **dict.fromkeys(["bf16", "fp16", "bf16_full_eval", "fp16_full_eval"], "it is student.precision"),
    **dict.fromkeys(["use_cpu", "ddp_backend", "local_rank"], "student.devices says what trains"),
    **dict.fromkeys(
        ["save_strategy", "save_steps", "save_only_model", "save_total_limit", "resume_from_checkpoint"],
        "xpoll writes checkpoints so that a killed training resumes",
    ),
    **dict.fromkeys(["do_train", "do_eval", "do_predict"], "it is an option of scripts that xpoll does not have"),
}
"""Names of TrainingArguments that [student.trainer] may not set for any student, and why; so are all of the Hub's."""
_OWNED = OWNED_ALWAYS | {
    **dict.fromkeys(
        ["eval_strategy", "eval_steps", "load_best_model_at_end", "metric_for_best_model", "greater_is_better"],
        "held-out votes stop the training and choose its best pass (student.held_out)",
    ),
    **dict.fromkeys(
        ["label_smoothing_factor", "label_names", "remove_unused_columns", "prediction_loss_only"],
        "the loss is the cross entropy against the votes (student.soft_labels)",
    ),
    **dict.fromkeys(
        ["train_sampling_strategy", "length_column_name"], "texts of similar length share a step, in random order"
    ),
}
"""Those of a classifier."""
_HUB = "xpoll export --push-to-hub uploads a student"


def num_processes() -> int:
    """How many processes torchrun has started for this training; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def steps_per_epoch(config: StudentConfig, num_rows: int) -> int:
    """Steps of one pass over the rows, the last of which may be short."""
    accumulated = int(config.trainer.get("gradient_accumulation_steps", 1))
    return math.ceil(num_rows / (config.batch_size * accumulated))


def num_epochs(config: StudentConfig, num_rows: int) -> float:
    """The configured passes, or as many as `student.min_steps` takes."""
    return max(config.epochs, config.min_steps / steps_per_epoch(config, num_rows))


def arguments(
    config: StudentConfig,
    precision: str,
    *,
    seed: int,
    num_rows: int,
    judged: bool,
    checkpoints: Path,
    reported: bool = False,
) -> TrainingArguments:
    """Arguments of one training: xpoll's, then those of [student.trainer].

    Args:
        config: The [student] section.
        precision: bf16 or fp32.
        seed: Of the order of rows and of dropout.
        num_rows: Rows to train on.
        judged: Whether there are held-out rows to evaluate on after each pass.
        checkpoints: Folder of this training's checkpoints.
        reported: Whether `report_to` of [student.trainer] holds for this training.

    Raises:
        ConfigError: student.precision is one that the device does not compute.
    """
    epochs = num_epochs(config, num_rows)
    num_steps = math.ceil(epochs * steps_per_epoch(config, num_rows))
    on_cpu = best_device().type == "cpu"
    each_pass = "epoch" if judged else "no"
    values: dict[str, Any] = {
        "output_dir": str(checkpoints),
        "num_train_epochs": epochs,
        "per_device_train_batch_size": config.batch_size,
        "per_device_eval_batch_size": 2 * config.batch_size,
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": "linear",
        "warmup_steps": 0.1,  # below 1 it is a share of all steps
        "weight_decay": 0.01,
        "optim": "adamw_torch_fused",  # one pass over the weights: a step at batch 8 takes a third less on a CPU
        "bf16": precision == "bf16",
        "use_cpu": on_cpu,
        "ddp_backend": "gloo" if on_cpu and num_processes() > 1 else None,
        "ddp_find_unused_parameters": False,
        "dataloader_pin_memory": not on_cpu,
        "seed": seed,
        "logging_steps": max(1, num_steps // NUM_LOSS_LINES),
        "logging_nan_inf_filter": False,
        "eval_strategy": each_pass,
        "save_strategy": each_pass,
        "save_total_limit": 2,
        "load_best_model_at_end": judged,
        "metric_for_best_model": "loss" if judged else None,
        "prediction_loss_only": True,
        "disable_tqdm": True,
        "remove_unused_columns": False,
    }
    values |= {"report_to": "none"} | config.trainer
    made = TrainingArguments(**values if reported else values | {"report_to": "none"})
    if made.n_gpu > 1:
        made._n_gpu = 1  # else the Trainer takes every GPU and multiplies the batch size by their number
    return made


def check_trainer(config: StudentConfig) -> None:
    """Finds out before any training whether [student.trainer] can be passed on.

    Raises:
        ConfigError: a name is unknown or set by xpoll, a value is of the wrong kind, or what it needs is not installed.
    """
    check_table(
        config.trainer,
        TrainingArguments,
        _OWNED,
        lambda: arguments(config, "fp32", seed=0, num_rows=1, judged=False, checkpoints=Path("unused"), reported=True),
    )


def check_table(
    table: Mapping[str, Any],
    of: type[TrainingArguments],
    owned: Mapping[str, str],
    make: Callable[[], TrainingArguments],
) -> None:
    """Holds [student.trainer] against the arguments that it is passed on to.

    Args:
        table: [student.trainer].
        of: The arguments.
        owned: Names that it may not set, and why.
        make: Makes the arguments, which raises where a value is wrong.

    Raises:
        ConfigError: a name is unknown or set by xpoll, a value is of the wrong kind, or what it needs is not installed.
    """
    fields = {field.name: field for field in dataclasses.fields(of)}
    for name, value in table.items():
        key = f"student.trainer.{name}"
        if name not in fields:
            raise ConfigError(
                f"unknown config key {key}", mend=nearest(key, [f"student.trainer.{each}" for each in fields])
            )
        if reason := owned.get(name, _HUB if "hub" in name.split("_") else None):
            raise ConfigError(f"{key} cannot be set: {reason}", mend=f"leave {name} out of [student.trainer]")
        _check_kind(key, value, fields[name].default)
    try:
        for callback in get_reporting_integration_callbacks(make().report_to):
            callback()
    except (ValueError, TypeError, RuntimeError, ImportError) as error:
        raise ConfigError(f"student.trainer: {error}", mend="edit [student.trainer]") from error


def _check_kind(key: str, value: Any, default: Any) -> None:
    """TrainingArguments takes any value and fails in the midst of a training."""
    if isinstance(default, bool) != isinstance(value, bool) and isinstance(default, bool | int | float):
        kind = "true or false" if isinstance(default, bool) else "a number"
    elif isinstance(default, int | float) and not isinstance(value, int | float):
        kind = "a number"
    else:
        return
    raise ConfigError(f"{key} must be {kind}, got {value!r}", mend="edit [student.trainer]")


def chosen_precision(wanted: str) -> str:
    """bf16 or fp32: what was asked for, or with `auto` bf16 where the processor computes it in hardware."""
    device = best_device()
    if device.type == "cpu":
        hardware = computes_bf16()
    else:
        hardware = device.type in ("cuda", "xpu") and is_torch_bf16_gpu_available()
        if wanted == "bf16" and not hardware:
            raise ConfigError(
                f"student.precision is bf16, which this {device.type} device does not compute",
                mend="--set student.precision=fp32",
            )
    if wanted == "auto":
        return "bf16" if hardware else "fp32"
    return wanted


@contextmanager
def attention_for_training(model: Any, precision: str) -> Iterator[None]:
    """Within the block a model that trains in bf16 on a CPU computes its attention step by step ("eager").

    Without dropout PyTorch would take its fused attention, whose gradient in bf16 takes half of a step's time on a CPU
    (PyTorch 2.13, experiments/LOG.md). In fp32 both take the same; with dropout it does not take the fused one.
    """
    usual = model.config._attn_implementation
    if best_device().type == "cpu" and precision == "bf16":
        model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(usual)
