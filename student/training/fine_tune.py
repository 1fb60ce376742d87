"""Fine-tunes a loaded encoder with transformers.Trainer. Imports torch: import it where it is needed."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from transformers import (
    DataCollatorWithPadding,
    EarlyStoppingCallback,
    PrinterCallback,
)

from xpoll.core.config import StudentConfig
from xpoll.core.errors import ConfigError, ModelError
from xpoll.student.training import callbacks, frozen
from xpoll.student.training.aims import Aims
from xpoll.student.training.arguments import arguments, chosen_precision, num_processes
from xpoll.student.training.attention import attention_for_training
from xpoll.student.training.batches import LengthTrainer
from xpoll.student.training.checkpoints import last_checkpoint
from xpoll.student.training.encoder import Encoder, quiet
from xpoll.student.training.first_token import last_layer_at_first_token
from xpoll.student.training.rows import FineTuning, Rows
from xpoll.student.training.used_tokens import used_tokens_alone


def fine_tune(
    encoder: Encoder,
    rows: Rows,
    held_out: Rows | None = None,
    *,
    config: StudentConfig,
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
        ConfigError: student.precision is one that the GPU does not compute, a package for logs is missing, or an aim
            is none for this encoder's head.
        ModelError: the loss left the numbers.
    """
    precision = chosen_precision(config.precision)
    frozen.freeze(encoder.model, config.frozen)
    started_s = time.monotonic()
    data = _data(encoder, rows, held_out, config.frozen)
    made = arguments(
        config, precision, seed=seed, num_rows=len(rows.texts), judged=held_out is not None, checkpoints=checkpoints
    )
    begun = last_checkpoint(checkpoints)
    aims = Aims(config)
    loss = callbacks.DistributionLoss(aims)
    with quiet(), attention_for_training(encoder.model, precision), ExitStack() as stack:
        if data.kept:
            stack.enter_context(frozen.upper_part(encoder.model, config.frozen))
        else:
            pad = int(encoder.tokenizer.pad_token_id)
            stack.enter_context(used_tokens_alone(encoder.model, data.token_ids(), pad=pad))
        stack.enter_context(last_layer_at_first_token(encoder.model))
        stack.enter_context(aims.of(encoder.model))
        report = callbacks.StepReport(stack, loss)
        trainer = LengthTrainer(
            model=encoder.model,
            args=made,
            train_dataset=data.train,
            eval_dataset=data.held_out,
            data_collator=data.collate,
            processing_class=encoder.tokenizer,
            compute_loss_func=loss,
            callbacks=[report, *_checkpoints_between(), *_logging(logs)],
        )
        if held_out and config.patience:
            trainer.add_callback(EarlyStoppingCallback(config.patience))
        trainer.remove_callback(PrinterCallback)
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


class _Data(NamedTuple):
    """What the Trainer reads, and how it makes batches of it."""

    train: list[dict[str, Any]]
    held_out: list[dict[str, Any]] | None
    collate: Callable[[Any], Any]
    kept: bool
    """Whether features hold the output of the frozen parts."""

    def token_ids(self) -> Iterator[Sequence[int]]:
        """Of every text."""
        return (feature["input_ids"] for feature in chain(self.train, self.held_out or []))


def _data(encoder: Encoder, rows: Rows, held_out: Rows | None, parts: int) -> _Data:
    both = [_features(encoder.tokenizer, each) if each else None for each in (rows, held_out)]
    every = [feature for features in both for feature in features or []]
    ids = [feature["input_ids"] for feature in every]
    kept = parts > 0 and frozen.kept_bytes(encoder.model, ids) <= frozen.MOST_BYTES
    if kept:
        pad = int(encoder.tokenizer.pad_token_id)
        for feature, output in zip(every, frozen.lower_outputs(encoder.model, ids, parts=parts, pad=pad), strict=True):
            feature["lower_output"] = output
    collate = frozen.collate if kept else DataCollatorWithPadding(encoder.tokenizer)
    return _Data(both[0] or [], both[1], collate, kept)


def _features(tokenizer: Any, rows: Rows) -> list[dict[str, Any]]:
    encoded = tokenizer(list(rows.texts), truncation=True)
    return [
        {**{name: column[i] for name, column in encoded.items()}, "labels": list(target)}
        for i, target in enumerate(rows.targets)
    ]


def _checkpoints_between() -> list[Any]:
    """None with several processes: their clocks would not agree on when to write one."""
    return [callbacks.TimedCheckpoint()] if num_processes() == 1 else []


def _logging(folder: Path | None) -> list[Any]:
    if folder is None:
        return []
    from transformers.integrations import TensorBoardCallback

    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise ConfigError(
            "student.tensorboard is true, and the package tensorboardX is not installed",
            mend="pip install tensorboardX, or --set student.tensorboard=false",
        ) from error
    return [TensorBoardCallback(SummaryWriter(logdir=str(folder)))]
