"""Several students as the teacher of one: it is trained on the mean of their answers in place of the votes.

Seeds of one training err differently, so their mean distribution is better than each of them; one student of
it keeps part of that at the price of one model to serve (Hinton et al. 2015, "Distilling the knowledge in a
neural network"). Texts whose votes were pruned are trained on as well: the ensemble has an answer for each. Members
may differ in more than the seed, and may label further texts, made up of those that are there.
"""

from pathlib import Path

import numpy as np

from xpoll.core.config import StudentConfig
from xpoll.core.errors import ConfigError
from xpoll.core.files import read_json, write_json
from xpoll.student.training.encoder import load_for_training
from xpoll.student.training.variants import variants_of
from xpoll.student.training_task import TrainingTask, aside

BETWEEN = 2_000_003
"""Step from the seed of one member to the next: far from the seeds of other students, which count up by one."""


def taught_by_ensemble(task: TrainingTask, seed: int, scratch: Path) -> TrainingTask:
    """The task with the ensemble's distributions as targets, as `student.ensemble` wants it."""
    if task.config.ensemble == 1:
        return task
    from xpoll.student.training.rows import Rows

    texts = task.texts(task.parts.train)
    labelled = set(texts)
    without_votes = [text for text in task.further.texts if text not in labelled] if task.further else []
    without_votes += _variants(task, texts, seed)
    answers = []
    for number in range(task.config.ensemble):
        kept = scratch / f"ensemble-{number}.json"
        if not kept.exists():
            member_seed = seed + (number + 1) * BETWEEN
            member = task._replace(config=_member(task.config, number))
            found = aside(member, task.trained_on(), [*texts, *without_votes], member_seed, scratch / kept.stem)
            write_json(kept, found.tolist())
        answers.append(read_json(kept))
    mean = np.mean(answers, axis=0)
    targets = task.targets.copy()
    targets[task.parts.train] = mean[: len(texts)]
    further = Rows(without_votes, mean[len(texts) :].tolist()) if without_votes else None
    return task._replace(targets=targets, further=further)


def check_ensemble(config: StudentConfig) -> None:
    """Finds out before any training whether there is an ensemble where something is asked of it.

    Raises:
        ConfigError: there is none.
    """
    asked = "members" if config.members else "variants" if config.variants else None
    if asked and config.ensemble == 1:
        raise ConfigError(
            f"student.{asked} is about the members of an ensemble, and student.ensemble is 1",
            mend="--set student.ensemble=4",
        )


def _member(config: StudentConfig, number: int) -> StudentConfig:
    """The section of a member."""
    if not config.members:
        return config
    changes = config.members[number % len(config.members)].model_dump(exclude_none=True)
    return config.model_copy(update=changes)


def _variants(task: TrainingTask, texts: list[str], seed: int) -> list[str]:
    if not task.config.variants:
        return []
    mask = load_for_training(task.config, task.labels, seed=seed).tokenizer.mask_token
    return variants_of(texts, times=task.config.variants, mask=mask, seed=seed)
