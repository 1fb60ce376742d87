"""What a student is trained on, and one training of it, wherever that runs."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xpoll.core.config import StudentConfig
from xpoll.student import calibration
from xpoll.student.dataset import TrainingRows
from xpoll.student.held_out import HeldOut
from xpoll.student.intel.ipex import fine_tune_with_ipex
from xpoll.student.training.encoder import Encoder, load_for_training

if TYPE_CHECKING:
    from xpoll.student.training.rows import FineTuning, Rows


class TrainingTask(NamedTuple):
    """What every seed is trained on."""

    chosen: TrainingRows
    labels: Sequence[str]
    targets: np.ndarray
    """(rows, labels) that training aims at."""
    votes: np.ndarray
    """(rows, labels) as voted."""
    reasons: Sequence[Sequence[str]]
    """What was stated for the votes of each row; none of them without a chain of thought."""
    parts: HeldOut
    unseen: np.ndarray | None
    """(rows, labels) of students that did not see the row; None without `student.refine`."""
    further: "Rows | None"
    """Texts without a voted label, with targets all the same: abstentions with a weight, what a student says of texts
    (`student.self_training`), and made-up texts (`student.variants`)."""
    num_pruned: int
    """Rows whose vote was left out."""
    config: StudentConfig
    backend: str

    @property
    def num_further(self) -> int:
        """Texts without a voted label that are trained on; made-up ones do not count."""
        made_up = self.config.variants * len(self.parts.train)
        return len(self.further.texts) - made_up if self.further else 0

    def with_targets(self) -> list[int]:
        """Numbers of the train rows that have targets: pruned ones have none."""
        return [i for i in self.parts.train if self.targets[i].any()]

    def trained_on(self) -> "Rows":
        """Rows with targets, and further texts."""
        from xpoll.student.training.rows import Rows

        rows = self.rows(self.with_targets(), self.targets)
        if self.further is None:
            return rows
        return Rows([*rows.texts, *self.further.texts], [*rows.targets, *self.further.targets])

    def texts(self, numbers: Sequence[int]) -> list[str]:
        return [self.chosen.rows[i].text for i in numbers]

    def rows(self, numbers: Sequence[int], targets: np.ndarray) -> "Rows":
        from xpoll.student.training.rows import Rows

        return Rows(self.texts(numbers), targets[list(numbers)].tolist())


def fine_tuned(
    task: TrainingTask,
    encoder: Encoder,
    rows: "Rows",
    held_out: "Rows | None",
    seed: int,
    scratch: Path,
    logs: Path | None,
) -> "FineTuning":
    """Trains `encoder.model` in place, as often as `student.average` says."""
    if task.config.linear_probe:
        from xpoll.student.training.head import fit_head

        fit_head(encoder, rows, seed=seed)
    if task.config.average == 1:
        return _once(task, encoder, rows, held_out, seed, scratch, logs)
    from xpoll.student.training.average import averaged

    def train(member_seed: int, folder: Path) -> "FineTuning":
        return _once(task, encoder, rows, held_out, member_seed, folder, logs and logs / folder.name)

    return averaged(encoder, train, times=task.config.average, seed=seed, scratch=scratch)


def _once(
    task: TrainingTask,
    encoder: Encoder,
    rows: "Rows",
    held_out: "Rows | None",
    seed: int,
    scratch: Path,
    logs: Path | None,
) -> "FineTuning":
    """Here, or in the environment of IPEX."""
    if task.backend == "ipex":
        return fine_tune_with_ipex(encoder, rows, held_out, config=task.config, seed=seed, scratch=scratch)
    # Behind all checks, because they import torch and that takes seconds.
    from xpoll.student.training.distributed import fine_tune_on_devices, num_devices
    from xpoll.student.training.fine_tune import fine_tune

    devices = num_devices(task.config)
    if devices > 1:
        return fine_tune_on_devices(
            encoder, rows, held_out, config=task.config, seed=seed, checkpoints=scratch, devices=devices
        )
    return fine_tune(encoder, rows, held_out, config=task.config, seed=seed, checkpoints=scratch, logs=logs)


def aside(task: TrainingTask, rows: "Rows", texts: Sequence[str], seed: int, checkpoints: Path) -> np.ndarray:
    """(texts, labels): what a student that is trained on these rows makes of other texts."""
    from xpoll.student.inference.logits import logits

    encoder = load_for_training(task.config, task.labels, seed=seed)
    fine_tuned(task, encoder, rows, None, seed, checkpoints, None)
    encoder.model.eval()
    shutil.rmtree(checkpoints, ignore_errors=True)
    return calibration.softmax(logits(encoder, texts))
