"""The [student] section as transformers.TrainingArguments. Imports torch: import it where it is needed."""

import math
import os
from pathlib import Path

from transformers import TrainingArguments
from transformers.utils import is_torch_bf16_gpu_available

from xpoll.core.config import StudentConfig
from xpoll.core.device import best_device
from xpoll.core.environment import computes_bf16
from xpoll.core.errors import ConfigError

NUM_LOSS_LINES = 20
"""How many times the loss is read off the device in one training."""


def num_processes() -> int:
    """How many processes torchrun has started for this training; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def num_epochs(config: StudentConfig, num_rows: int) -> float:
    """The configured passes, or as many as `student.min_steps` takes."""
    return max(config.epochs, config.min_steps / math.ceil(num_rows / (config.batch_size * config.accumulation)))


def arguments(
    config: StudentConfig, precision: str, *, seed: int, num_rows: int, judged: bool, checkpoints: Path
) -> TrainingArguments:
    """Arguments of one training.

    Args:
        config: The [student] section.
        precision: bf16 or fp32.
        seed: Of the order of rows and of dropout.
        num_rows: Rows to train on.
        judged: Whether there are held-out rows to evaluate on after each pass.
        checkpoints: Folder of this training's checkpoints.

    Raises:
        ConfigError: student.precision is one that the device does not compute.
    """
    epochs = num_epochs(config, num_rows)
    num_steps = math.ceil(epochs * math.ceil(num_rows / (config.batch_size * config.accumulation)))
    on_cpu = best_device().type == "cpu"
    each_pass = "epoch" if judged else "no"
    made = TrainingArguments(
        output_dir=str(checkpoints),
        num_train_epochs=epochs,
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=2 * config.batch_size,
        gradient_accumulation_steps=config.accumulation,
        learning_rate=config.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=0.1,  # below 1 it is a share of all steps
        weight_decay=0.01,
        optim="adamw_torch_fused",  # one pass over the weights: a step at batch 8 takes about a third less on a CPU
        bf16=precision == "bf16",
        use_cpu=on_cpu,
        ddp_backend="gloo" if on_cpu and num_processes() > 1 else None,
        ddp_find_unused_parameters=False,
        dataloader_pin_memory=not on_cpu,
        seed=seed,
        full_determinism=config.deterministic,
        logging_steps=max(1, num_steps // NUM_LOSS_LINES),
        logging_nan_inf_filter=False,
        eval_strategy=each_pass,
        save_strategy=each_pass,
        save_total_limit=2,
        load_best_model_at_end=judged,
        metric_for_best_model="loss" if judged else None,
        prediction_loss_only=True,
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
    )
    if made.n_gpu > 1:
        made._n_gpu = 1  # else the Trainer takes every GPU and multiplies the batch size by their number
    return made


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
