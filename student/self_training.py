"""Labels that a student gives itself: to texts on which the votes abstained, or whose vote was pruned.

A first student is trained on the voted rows. Texts without a vote of which it is sure are trained on with its own
distribution as target; the others stay out (Yarowsky 1995, "Unsupervised word sense disambiguation rivaling supervised
methods"; one round). No gold label is used.
"""

from pathlib import Path

import numpy as np

from xpoll.core.files import read_json, write_json
from xpoll.student.training_task import TrainingTask, aside

SURE = 0.9
"""Probability of its best label from which on a student's word is taken for a vote."""


def with_own_labels(task: TrainingTask, seed: int, scratch: Path) -> TrainingTask:
    """The task with the texts that a student of it could label itself, as `student.self_training` wants it."""
    if not task.config.self_training:
        return task
    from xpoll.student.training.rows import Rows

    voted = task.with_targets()
    pruned = sorted(set(task.parts.train) - set(voted))
    texts = [row.text for row in task.chosen.abstained] + task.texts(pruned)
    if not texts:
        return task
    kept = scratch / "own-labels.json"
    if not kept.exists():
        write_json(kept, aside(task, task.trained_on(), texts, seed, scratch / kept.stem).tolist())
    found = np.array(read_json(kept))
    sure = np.flatnonzero(found.max(1) >= SURE)
    return task._replace(further=Rows([texts[i] for i in sure], found[sure].tolist()))
