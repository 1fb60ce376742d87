"""Fine-tunes a loaded encoder with transformers.Trainer. Imports torch: import it where it is needed."""

import math
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import (
    DataCollatorWithPadding,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.utils import is_torch_bf16_gpu_available

from core.config import Student
from core.environment import computes_bf16
from core.errors import ConfigError, ModelError
from core.progress import Progress
from student.encoder import Encoder, quiet

NUM_LOSS_LINES = 20
"""How many times the loss is read off the device in one training."""


class FineTuning(NamedTuple):
    """How a training went. `final_loss` is the mean over its last twentieth, in nats."""

    precision: str
    device: str
    wall_s: float
    final_loss: float


def fine_tune(
    encoder: Encoder,
    texts: Sequence[str],
    targets: Sequence[Sequence[float]],
    *,
    config: Student,
    seed: int,
    scratch: Path,
) -> FineTuning:
    """Trains `encoder.model` in place on texts and their target distributions.

    Raises:
        ConfigError: student.precision is one that the GPU does not compute.
        ModelError: the loss left the numbers.
    """
    precision = chosen_precision(config.precision)
    features = _features(encoder.tokenizer, texts, targets)
    with quiet(), ExitStack() as stack:
        report = _StepReport(stack)
        trainer = Trainer(
            model=encoder.model,
            args=_arguments(config, precision, seed=seed, num_rows=len(features), scratch=scratch),
            train_dataset=features,
            data_collator=DataCollatorWithPadding(encoder.tokenizer),
            processing_class=encoder.tokenizer,
            compute_loss_func=distribution_loss,
            callbacks=[report],
        )
        trainer.remove_callback(PrinterCallback)
        started_s = time.monotonic()
        trainer.train()
        wall_s = time.monotonic() - started_s
    if not math.isfinite(report.loss):
        raise ModelError("training diverged: the loss is no number any more", mend="lower student.learning_rate")
    return FineTuning(precision, str(trainer.args.device), wall_s, report.loss)


def distribution_loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
    """Mean cross entropy between target distributions (rows, labels) and the model's, in nats."""
    return torch.nn.functional.cross_entropy(outputs.logits.float(), labels.float())


def chosen_precision(wanted: str) -> str:
    """bf16 or fp32: what was asked for, or with `auto` bf16 where the processor computes it in hardware."""
    device = torch.accelerator.current_accelerator()
    if device is None:
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


def _features(tokenizer: Any, texts: Sequence[str], targets: Sequence[Sequence[float]]) -> list[dict[str, Any]]:
    encoded = tokenizer(list(texts), truncation=True)
    return [
        {**{name: column[i] for name, column in encoded.items()}, "labels": list(target)}
        for i, target in enumerate(targets)
    ]


def num_epochs(config: Student, num_rows: int) -> float:
    """The configured passes, or as many as `student.min_steps` takes."""
    return max(config.epochs, config.min_steps / math.ceil(num_rows / config.batch_size))


def _arguments(config: Student, precision: str, *, seed: int, num_rows: int, scratch: Path) -> TrainingArguments:
    epochs = num_epochs(config, num_rows)
    num_steps = math.ceil(epochs * math.ceil(num_rows / config.batch_size))
    on_cpu = not torch.accelerator.is_available()
    arguments = TrainingArguments(
        output_dir=str(scratch),
        num_train_epochs=epochs,
        per_device_train_batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=0.1,  # below 1 it is a share of all steps
        weight_decay=0.01,
        optim="adamw_torch_fused",  # one pass over the weights: a step at batch 8 takes about a third less on a CPU
        train_sampling_strategy="group_by_length",
        bf16=precision == "bf16",
        use_cpu=on_cpu,
        dataloader_pin_memory=not on_cpu,
        seed=seed,
        logging_steps=max(1, num_steps // NUM_LOSS_LINES),
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
    )
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # else the Trainer takes every GPU and multiplies the batch size by their number
    return arguments


class _StepReport(TrainerCallback):  # type: ignore[misc]
    """Shows steps and loss while training, and keeps the last loss."""

    def __init__(self, stack: ExitStack) -> None:
        self.loss = math.nan
        self._stack = stack

    def on_train_begin(self, _: TrainingArguments, state: TrainerState, __: TrainerControl, **more: Any) -> None:
        self._progress = self._stack.enter_context(Progress("training student", total=state.max_steps, unit="steps"))

    def on_step_end(
        self, _: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> TrainerControl:
        self._progress.add(1, note="" if math.isnan(self.loss) else f"loss {self.loss:.3f}")
        control.should_log |= state.global_step == state.max_steps
        return control

    def on_log(
        self,
        _: TrainingArguments,
        state: TrainerState,
        __: TrainerControl,
        logs: dict[str, float] | None = None,
        **more: Any,
    ) -> None:
        self.loss = (logs or {}).get("loss", self.loss)
