"""[student.lora] and the [student] section as PEFT and TRL take them. Imports torch: import it where it is needed."""

import dataclasses
import math
from pathlib import Path
from typing import Any

from peft import LoraConfig
from trl import SFTConfig

from xpoll.core.config.file import nearest
from xpoll.core.config.student import StudentConfig
from xpoll.core.errors import ConfigError
from xpoll.core.machine.device import best_device
from xpoll.student.training.arguments import (
    NUM_LOSS_LINES,
    OWNED_ALWAYS,
    check_table,
    num_epochs,
    steps_per_epoch,
)

_TEMPLATE = "prompts are written by the model's own chat template"
_OWNED_BY_SFT = OWNED_ALWAYS | {
    **dict.fromkeys(
        ["eval_strategy", "eval_steps", "load_best_model_at_end", "metric_for_best_model", "greater_is_better"],
        "held-out rows measure the student and do not choose it",
    ),
    **dict.fromkeys(["label_names", "remove_unused_columns", "prediction_loss_only"], "xpoll prepares the rows"),
    **dict.fromkeys(["max_length", "truncation_mode"], "it is student.max_length, and ends are cut"),
    **dict.fromkeys(["completion_only_loss", "assistant_only_loss"], "completions are learned, and nothing else"),
    **dict.fromkeys(["chat_template_path", "eos_token", "pad_token"], _TEMPLATE),
    **dict.fromkeys(["model_init_kwargs", "trust_remote_code"], "the model is loaded before; none may bring code"),
    **dict.fromkeys(
        ["dataset_text_field", "dataset_kwargs", "dataset_num_proc", "shuffle_dataset"], "xpoll prepares the rows"
    ),
    **dict.fromkeys(["padding_free", "eval_packing"], "it follows from packing"),
}
"""Names of SFTConfig that [student.trainer] may not set, and why."""
_OWNED_BY_LORA = {
    "task_type": "it is CAUSAL_LM",
    "base_model_name_or_path": "it is student.model",
    "inference_mode": "the weights are trained",
    "revision": "student.model says which model",
    "peft_type": "it is LORA",
}
"""Names of LoraConfig that [student.lora] may not set, and why."""


def sft_arguments(
    config: StudentConfig, precision: str, *, seed: int, sequences: int, checkpoints: Path, reported: bool = False
) -> SFTConfig:
    """Arguments of one training: xpoll's, then those of [student.trainer].

    Args:
        config: The [student] section, with its recipe.
        precision: bf16 or fp32.
        seed: Of the LoRA weights, the order of rows and dropout.
        sequences: Rows to train on, or packs of them.
        checkpoints: Folder of this training's checkpoints.
        reported: Whether `report_to` of [student.trainer] holds for this training.
    """
    epochs = num_epochs(config, sequences)
    num_steps = math.ceil(epochs * steps_per_epoch(config, sequences))
    on_cpu = best_device().type == "cpu"
    values: dict[str, Any] = {
        "output_dir": str(checkpoints),
        "num_train_epochs": epochs,
        "per_device_train_batch_size": config.batch_size,
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": "linear",
        "warmup_steps": 0.1,  # below 1 it is a share of all steps
        "optim": "adamw_torch_fused",
        "bf16": precision == "bf16",
        "use_cpu": on_cpu,
        "dataloader_pin_memory": not on_cpu,
        "seed": seed,
        "logging_steps": max(1, num_steps // NUM_LOSS_LINES),
        "logging_nan_inf_filter": False,
        "save_strategy": "no",  # TimedCheckpoint asks for each
        "save_total_limit": 2,
        "disable_tqdm": True,
        "max_length": config.max_length,
        "dataset_kwargs": {"skip_prepare_dataset": True},
    }
    values |= {"report_to": "none"} | config.trainer
    made = SFTConfig(**values if reported else values | {"report_to": "none"})
    if made.n_gpu > 1:
        made._n_gpu = 1  # else the Trainer takes every GPU and multiplies the batch size by their number
    return made


def lora_config(config: StudentConfig) -> LoraConfig:
    """[student.lora] for PEFT.

    Raises:
        ConfigError: a name is unknown or set by xpoll, or a value is of the wrong kind.
    """
    fields = {field.name for field in dataclasses.fields(LoraConfig)}
    for name in config.lora:
        key = f"student.lora.{name}"
        if name not in fields:
            raise ConfigError(
                f"unknown config key {key}", mend=nearest(key, [f"student.lora.{each}" for each in sorted(fields)])
            )
        if reason := _OWNED_BY_LORA.get(name):
            raise ConfigError(f"{key} cannot be set: {reason}", mend=f"leave {name} out of [student.lora]")
    try:
        return LoraConfig(task_type="CAUSAL_LM", **config.lora)
    except (ValueError, TypeError, ImportError) as error:
        raise ConfigError(f"student.lora: {error}", mend="edit [student.lora]") from error


def check_tables(config: StudentConfig) -> None:
    """Finds out before any training whether [student.lora] and [student.trainer] can be passed on.

    Raises:
        ConfigError: a name is unknown or set by xpoll, a value is of the wrong kind, or what it needs is not installed.
    """
    lora_config(config)
    check_table(config.trainer, SFTConfig, _OWNED_BY_SFT, lambda: _checked(config))


def _checked(config: StudentConfig) -> SFTConfig:
    made = sft_arguments(config, "fp32", seed=0, sequences=1, checkpoints=Path("unused"), reported=True)
    if made.packing and made.packing_strategy == "wrapped":
        raise ValueError("with packing_strategy 'wrapped' rows see each other; leave it out")
    return made
