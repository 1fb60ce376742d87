"""Texts on which the votes abstained, as texts to learn from: a tie of two labels still speaks against the others."""

import numpy as np

from xpoll.core.config import StudentConfig
from xpoll.core.errors import ConfigError
from xpoll.core.records import NO_READABLE_VOTE
from xpoll.student.training_task import TrainingTask


def with_abstentions(task: TrainingTask) -> TrainingTask:
    """The task with abstentions as `student.abstained_weight` wants them; those without any readable vote stay out."""
    weight = task.config.abstained_weight
    if not weight:
        return task
    from xpoll.student.training.rows import Rows

    rows = [row for row in task.chosen.abstained if row.abstained != NO_READABLE_VOTE]
    if not rows:
        return task
    targets = weight * np.array([row.distribution for row in rows])
    return task._replace(further=Rows([row.text for row in rows], targets.tolist()))


def check_abstentions(config: StudentConfig) -> None:
    """Finds out before any training whether one thing is to be done with abstentions and not two.

    Raises:
        ConfigError: it is two.
    """
    if config.abstained_weight and config.self_training:
        raise ConfigError(
            "student.abstained_weight trains on what the votes say of texts on which they abstained, and "
            "student.self_training on what a student says of them",
            mend="--set student.abstained_weight=0, or --set student.self_training=false",
        )
