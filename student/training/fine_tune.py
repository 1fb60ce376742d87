"""Fine-tunes a loaded encoder with transformers.Trainer. Imports torch: import it where it is needed."""

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from transformers import DataCollatorWithPadding, EarlyStoppingCallback, PrinterCallback

from xpoll.core.config.job import StudentConfig
from xpoll.core.errors import ModelError
from xpoll.student.dataset import PATIENCE, Rows
from xpoll.student.heads.registry import HEADS
from xpoll.student.recipe import Recipe
from xpoll.student.training import callbacks, frozen
from xpoll.student.training.aims import Aims
from xpoll.student.training.arguments import arguments, attention_for_training, chosen_precision, num_processes
from xpoll.student.training.batches import LengthTrainer
from xpoll.student.training.checkpoints import last_checkpoint
from xpoll.student.training.encoder import Encoder, quiet
from xpoll.student.training.first_token import last_layer_at_first_token
from xpoll.student.training.objectives import Objective
from xpoll.student.training.used_tokens import used_tokens_alone
from xpoll.student.training_record import FineTuning


class Settings(NamedTuple):
    """How to train."""

    config: StudentConfig
    recipe: Recipe
    seed: int
    """Of the order of rows and of dropout."""
    checkpoints: Path
    """Folder of checkpoints; training resumes from a whole one that lies there."""
    logs: Path | None = None
    """Folder for what `report_to` in [student.trainer] writes; nothing is reported without it."""
    head: str = "label"
    """Name of the head, as in student/heads/registry.py."""


def fine_tune(encoder: Encoder, rows: Rows, held_out: Rows | None, settings: Settings) -> FineTuning:
    """Trains `encoder.model` in place.

    Args:
        encoder: What to train.
        rows: What to train on.
        held_out: What is looked at after each pass to stop early; the weights of the best pass are kept.
        settings: How to train.

    Raises:
        ConfigError: student.precision is one that the GPU does not compute, or the recipe does not go with the
            encoder's head.
        ModelError: the loss left the numbers.
    """
    config = settings.config
    precision = chosen_precision(config.precision)
    frozen.freeze(encoder.model, config.frozen)
    started_s = time.monotonic()
    aims = Aims(settings.recipe)
    objective = HEADS[settings.head].objective()(encoder, aims)
    data = _data(encoder, rows, held_out, config.frozen, objective)
    made = arguments(
        config,
        precision,
        seed=settings.seed,
        num_rows=len(rows.texts),
        judged=held_out is not None,
        checkpoints=settings.checkpoints,
        reported=settings.logs is not None,
    )
    begun = last_checkpoint(settings.checkpoints)
    with quiet(), attention_for_training(encoder.model, precision), _logging_to(settings.logs), ExitStack() as stack:
        if data.kept:
            stack.enter_context(frozen.upper_part(encoder.model, config.frozen))
        else:
            pad = int(encoder.tokenizer.pad_token_id)
            stack.enter_context(used_tokens_alone(encoder.model, data.token_ids(), pad=pad))
        stack.enter_context(last_layer_at_first_token(encoder.model))
        stack.enter_context(aims.of(encoder.model))
        report = callbacks.AccuracyReport(stack, objective)
        trainer = LengthTrainer(
            model=encoder.model,
            args=made,
            train_dataset=data.train,
            eval_dataset=data.held_out,
            data_collator=data.collate,
            processing_class=encoder.tokenizer,
            compute_loss_func=objective,
            callbacks=[report, *_checkpoints_between(), *([EarlyStoppingCallback(PATIENCE)] if held_out else [])],
        )
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


def _data(encoder: Encoder, rows: Rows, held_out: Rows | None, parts: int, objective: Objective) -> _Data:
    both = [objective.features(each) if each else None for each in (rows, held_out)]
    every = [feature for features in both for feature in features or []]
    ids = [feature["input_ids"] for feature in every]
    kept = parts > 0 and frozen.kept_bytes(encoder.model, ids) <= frozen.MOST_BYTES
    if kept:
        pad = int(encoder.tokenizer.pad_token_id)
        for feature, output in zip(every, frozen.lower_outputs(encoder.model, ids, parts=parts, pad=pad), strict=True):
            feature["lower_output"] = output
    collate = frozen.collate if kept else DataCollatorWithPadding(encoder.tokenizer)
    return _Data(both[0] or [], both[1], partial(objective.collate, padded=collate), kept)


def _checkpoints_between() -> list[Any]:
    """None with several processes: their clocks would not agree on when to write one."""
    return [callbacks.TimedCheckpoint()] if num_processes() == 1 else []


@contextmanager
def _logging_to(folder: Path | None) -> Iterator[None]:
    """Within the block Transformers writes TensorBoard's files there; it reads the place from the environment."""
    name = "TENSORBOARD_LOGGING_DIR"
    before = os.environ.get(name)
    if folder is not None and before is None:
        os.environ[name] = str(folder)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
