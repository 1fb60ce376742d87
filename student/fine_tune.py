"""Fine-tunes a loaded encoder with transformers.Trainer. Imports torch: import it where it is needed."""

import math
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from transformers import (
    DataCollatorWithPadding,
    EarlyStoppingCallback,
    PrinterCallback,
    Trainer,
)

from core.config import Student
from core.errors import ConfigError, ModelError
from student import callbacks
from student.arguments import arguments, chosen_precision
from student.checkpoints import last_checkpoint
from student.encoder import Encoder, quiet


class Rows(NamedTuple):
    """Texts with one target a label each; the targets of a row add up to its weight."""

    texts: Sequence[str]
    targets: Sequence[Sequence[float]]


class FineTuning(NamedTuple):
    """How a training went. `final_loss` is the mean over its last twentieth, in nats."""

    precision: str
    device: str
    wall_s: float
    final_loss: float
    held_out_loss: float | None
    """Of the weights that were kept; None without held-out rows."""
    epochs: float
    """Passes that were made: fewer than asked for where the held-out loss rose."""
    resumed_at: int
    """Step that a checkpoint let it go on from; 0 if it began."""


def fine_tune(
    encoder: Encoder,
    rows: Rows,
    held_out: Rows | None = None,
    *,
    config: Student,
    seed: int,
    checkpoints: Path,
    logs: Path | None = None,
) -> FineTuning:
    """Trains `encoder.model` in place.

    Args:
        encoder: What to train.
        rows: What to train on.
        held_out: What is looked at after each pass to stop early; the weights of the best pass are kept.
        config: The [student] section.
        seed: Of the order of rows and of dropout.
        checkpoints: Folder for checkpoints; a whole one that lies there is gone on from.
        logs: Folder for TensorBoard's files, or None.

    Raises:
        ConfigError: student.precision is one that the GPU does not compute, or a package for logs is missing.
        ModelError: the loss left the numbers.
    """
    precision = chosen_precision(config.precision)
    _freeze(encoder.model, config.frozen)
    made = arguments(
        config, precision, seed=seed, num_rows=len(rows.texts), judged=held_out is not None, checkpoints=checkpoints
    )
    begun = last_checkpoint(checkpoints)
    loss = callbacks.DistributionLoss()
    with quiet(), ExitStack() as stack:
        report = callbacks.StepReport(stack, loss)
        trainer = Trainer(
            model=encoder.model,
            args=made,
            train_dataset=_features(encoder.tokenizer, rows),
            eval_dataset=_features(encoder.tokenizer, held_out) if held_out else None,
            data_collator=DataCollatorWithPadding(encoder.tokenizer),
            processing_class=encoder.tokenizer,
            compute_loss_func=loss,
            callbacks=[report, callbacks.TimedCheckpoint(), *_logging(logs)],
        )
        if held_out and config.patience:
            trainer.add_callback(EarlyStoppingCallback(config.patience))
        trainer.remove_callback(PrinterCallback)
        started_s = time.monotonic()
        trainer.train(resume_from_checkpoint=str(begun) if begun else None)
        wall_s = time.monotonic() - started_s
    if not math.isfinite(report.loss):
        raise ModelError("training diverged: the loss is no number any more", mend="lower student.learning_rate")
    return FineTuning(
        precision,
        str(trainer.args.device),
        wall_s,
        report.loss,
        trainer.state.best_metric,
        round(trainer.state.epoch or 0.0, 3),
        int(begun.name.rpartition("-")[2]) if begun else 0,
    )


def _features(tokenizer: Any, rows: Rows) -> list[dict[str, Any]]:
    encoded = tokenizer(list(rows.texts), truncation=True)
    return [
        {**{name: column[i] for name, column in encoded.items()}, "labels": list(target)}
        for i, target in enumerate(rows.targets)
    ]


def _freeze(model: Any, parts: int) -> None:
    """Keeps the weights of the embeddings and of the `parts - 1` lowest layers.

    Raises:
        ConfigError: the encoder has fewer layers, or none that can be told apart.
    """
    if parts == 0:
        return
    body = model.base_model
    layers = getattr(getattr(body, "encoder", None), "layer", None) or getattr(body, "layers", None)
    if layers is None or not hasattr(body, "embeddings"):
        raise ConfigError(
            f"student.frozen is {parts}, and the layers of a {type(body).__name__} are not known",
            mend="--set student.frozen=0",
        )
    if parts > len(layers) + 1:
        raise ConfigError(
            f"student.frozen is {parts}, and the encoder has embeddings and {len(layers)} layers",
            mend=f"--set student.frozen={len(layers)} or less",
        )
    for part in [body.embeddings, *layers][:parts]:
        part.requires_grad_(False)


def _logging(folder: Path | None) -> list[Any]:
    if folder is None:
        return []
    from transformers.integrations import TensorBoardCallback

    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError(
            "student.tensorboard is true, and the package tensorboard is not installed",
            mend="pip install tensorboard, or --set student.tensorboard=false",
        ) from error
    return [TensorBoardCallback(SummaryWriter(log_dir=str(folder)))]
