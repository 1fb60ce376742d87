"""Fine-tunes LoRA weights with TRL's SFTTrainer. Imports torch: import it where it is needed."""

import math
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import datasets
from transformers import PrinterCallback
from trl import SFTTrainer, pack_dataset

from xpoll.core.config.student import StudentConfig
from xpoll.core.errors import ModelError
from xpoll.student.causal_lm.record import LossPoint
from xpoll.student.causal_lm.tokens import Tokens
from xpoll.student.causal_lm.training.arguments import lora_config, sft_arguments
from xpoll.student.causal_lm.training.model import LanguageModel
from xpoll.student.training.arguments import attention_for_training
from xpoll.student.training.callbacks import StepReport, TimedCheckpoint
from xpoll.student.training.checkpoints import last_checkpoint
from xpoll.student.training.encoder import quiet


class LoraTuning(NamedTuple):
    """How one fine-tuning went; losses are in nats per learned token."""

    device: str
    wall_s: float
    epochs: float
    steps: int
    resumed_at: int
    losses: tuple[LossPoint, ...]
    sequences: int
    parameters: int
    trained_parameters: int


def fine_tune_lora(
    base: LanguageModel,
    rows: Sequence[Tokens],
    *,
    config: StudentConfig,
    precision: str,
    seed: int,
    checkpoints: Path,
    adapter: Path,
    logs: Path | None = None,
) -> LoraTuning:
    """Trains LoRA weights for `base` and writes them to `adapter`.

    Args:
        base: What to train; it carries the adapter afterwards and is of no further use.
        rows: What to train on.
        config: The [student] section, with its recipe.
        precision: bf16 or fp32.
        seed: Of the LoRA weights, the order of rows and dropout.
        checkpoints: Folder of checkpoints; training resumes from a whole one that lies there.
        adapter: Folder to write.
        logs: Folder for what `report_to` in [student.trainer] writes; nothing is reported without it.

    Raises:
        ModelError: the loss left the numbers, or the model has no layer of the names in [student.lora].
    """
    started_s = time.monotonic()
    packing = bool(config.trainer.get("packing", False))
    data = _dataset(rows, config, packing=packing)
    made = sft_arguments(
        config, precision, seed=seed, sequences=len(data), checkpoints=checkpoints, reported=logs is not None
    )
    begun = last_checkpoint(checkpoints)
    base.model.train()
    with quiet(), attention_for_training(base.model, precision), ExitStack() as stack:
        report = StepReport(stack)
        try:
            trainer = SFTTrainer(
                model=base.model,
                args=made,
                train_dataset=data,
                processing_class=base.tokenizer,
                peft_config=lora_config(config),
                callbacks=[report, TimedCheckpoint()],
            )
        except ValueError as error:
            raise ModelError(f"student.lora does not fit the model: {error}", mend="edit [student.lora]") from error
        trainer.remove_callback(PrinterCallback)
        trainer.train(resume_from_checkpoint=str(begun) if begun else None)
        wall_s = time.monotonic() - started_s
        losses = tuple(
            LossPoint(step=entry["step"], loss=entry["loss"]) for entry in trainer.state.log_history if "loss" in entry
        )
        if not losses or not math.isfinite(losses[-1].loss):
            raise ModelError("training diverged: the loss is no number any more", mend="lower student.learning_rate")
        trainer.model.save_pretrained(adapter)
    weights = list(trainer.model.parameters())
    trained = sum(each.numel() for each in weights if each.requires_grad)
    return LoraTuning(
        str(made.device),
        wall_s,
        round(trainer.state.epoch or 0.0, 3),
        trainer.state.global_step,
        int(begun.name.rpartition("-")[2]) if begun else 0,
        losses,
        len(data),
        sum(each.numel() for each in weights) - trained,
        trained,
    )


def _dataset(rows: Sequence[Tokens], config: StudentConfig, *, packing: bool) -> Any:
    """Rows as TRL's trainer reads them when it does not prepare them itself; packed if asked for."""
    datasets.disable_progress_bars()
    data = datasets.Dataset.from_dict({"input_ids": [row.ids for row in rows], "labels": [row.labels for row in rows]})
    if not packing:
        return data
    return pack_dataset(data, config.max_length, config.trainer.get("packing_strategy", "bfd"))
