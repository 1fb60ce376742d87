"""What a student is trained on, and one training of it, wherever that runs."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from xpoll.core.config.job import StudentConfig
from xpoll.core.files import read_json, write_json
from xpoll.core.pairs import is_pair
from xpoll.student.calibration import softmax
from xpoll.student.dataset import HeldOut, Rows, TrainingRows
from xpoll.student.heads.head import Head
from xpoll.student.heads.label import LABEL
from xpoll.student.intel.ipex import fine_tune_with_ipex
from xpoll.student.recipe import Recipe
from xpoll.student.training.encoder import Encoder, load_for_training
from xpoll.student.training_record import FineTuning

PURPOSES = ("judge", "member")
"""What further students are trained for; the place of a purpose is part of their seeds."""


class TrainingTask(NamedTuple):
    """What every seed is trained on."""

    chosen: TrainingRows
    labels: Sequence[str]
    targets: np.ndarray
    """(rows, labels) that training aims at; all 0 for a pruned row."""
    votes: np.ndarray
    """(rows, labels) as voted."""
    parts: HeldOut
    unseen: np.ndarray | None
    """(rows, labels) of students that did not see the row; None unless the recipe prunes."""
    made_up: Rows | None
    """Texts that nobody wrote, with what an ensemble says of them."""
    num_pruned: int
    config: StudentConfig
    recipe: Recipe
    backend: Literal["native", "ipex"]
    head: Head = LABEL

    @property
    def has_pairs(self) -> bool:
        """Whether its texts are pairs."""
        return all(is_pair(row.text) for row in self.chosen.rows)

    def trained_on(self) -> Rows:
        """Train rows that have targets, and made-up texts."""
        kept = [i for i in self.parts.train if not self.num_pruned or self.targets[i].any()]
        rows = self.rows(kept, self.targets)
        if self.made_up is None:
            return rows
        return Rows([*rows.texts, *self.made_up.texts], [*rows.targets, *self.made_up.targets])

    def texts(self, numbers: Sequence[int]) -> list[str]:
        """The texts of these rows."""
        return [self.chosen.rows[i].text for i in numbers]

    def rows(self, numbers: Sequence[int], targets: np.ndarray) -> Rows:
        """These rows with their targets; `targets` is (rows, labels) of all rows."""
        return Rows(self.texts(numbers), targets[list(numbers)].tolist())


def sub_seed(seed: int, purpose: Literal["judge", "member"], number: int) -> int:
    """The seed of a further student, independent of `seed`, which trains the student itself."""
    spawned = np.random.SeedSequence(seed, spawn_key=(PURPOSES.index(purpose), number))
    return int(spawned.generate_state(1)[0])


def fine_tuned(
    task: TrainingTask,
    encoder: Encoder,
    rows: Rows,
    held_out: Rows | None,
    *,
    seed: int,
    scratch: Path,
    logs: Path | None = None,
) -> FineTuning:
    """Trains `encoder.model` in place, here or in the environment of IPEX.

    Args:
        task: Its settings and recipe.
        encoder: What to train.
        rows: What to train on.
        held_out: What early stopping looks at.
        seed: Of the order of rows and of dropout.
        scratch: Folder of this training's checkpoints.
        logs: Folder for what `report_to` in [student.trainer] writes; nothing is reported without it.
    """
    if task.head.probe == "tokens":
        from xpoll.student.training.token_probe import fit_token_head

        fit_token_head(encoder, rows, seed=seed)
    elif task.recipe.linear_probe or task.head.probe:
        from xpoll.student.training.head import fit_head

        fit_head(encoder, rows, seed=seed, yes_no=task.head.probe == "yes or no")
    if task.backend == "ipex":
        return fine_tune_with_ipex(encoder, rows, held_out, config=task.config, seed=seed, scratch=scratch)
    # Imported behind all checks, because torch takes seconds to import.
    from xpoll.student.training.distributed import fine_tune_on_devices, num_devices
    from xpoll.student.training.fine_tune import Settings, fine_tune

    settings = Settings(task.config, task.recipe, seed, scratch, logs, task.head.name)
    if (devices := num_devices(task.config)) > 1:
        return fine_tune_on_devices(encoder, rows, held_out, settings, devices=devices)
    return fine_tune(encoder, rows, held_out, settings)


def answers_of(task: TrainingTask, rows: Rows, texts: Sequence[str], seed: int, scratch: Path) -> np.ndarray:
    """(texts, labels): what a student that is trained on these rows makes of other texts.

    Args:
        task: Its settings and recipe.
        rows: What to train on; no held-out rows stop it.
        texts: What to ask.
        seed: Of the training.
        scratch: Folder of its checkpoints; the answers are kept beside it, so that a call after a kill reads them.
    """
    from xpoll.student.inference.logits import logits

    kept = scratch.with_name(f"{scratch.name}.json")
    if not kept.exists():
        pairs = task.has_pairs
        encoder = load_for_training(task.config, task.labels, seed=seed, dropout=task.recipe.dropout, pairs=pairs)
        fine_tuned(task, encoder, rows, None, seed=seed, scratch=scratch)
        encoder.model.eval()
        shutil.rmtree(scratch, ignore_errors=True)
        write_json(kept, softmax(logits(encoder, texts)).tolist())
    return np.array(read_json(kept))
