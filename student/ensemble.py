"""Several students as the teacher of one: it is trained on the mean of their answers in place of the votes.

Students of different seeds err differently, so their mean distribution is better than each of them; one student of
it keeps part of that at the price of one model to serve (Hinton et al. 2015, "Distilling the knowledge in a
neural network"). Texts whose votes were pruned are trained on as well: the ensemble has an answer for each.

An ensemble agrees with itself on texts that it was trained on, and says little there that the votes did not. What it
makes of other texts is what a student of it has to learn; where there are none, texts with masked words and texts
begun by one and ended by another stand in (Jiao et al. 2020, "TinyBERT", for augmentation; Beyer et al. 2022,
"Knowledge distillation: A good teacher is patient and consistent", for answers to the augmented text itself).
"""

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xpoll.student.dataset import Rows
from xpoll.student.training.encoder import load_for_training
from xpoll.student.training_task import TrainingTask, answers_of, sub_seed

MASKED = (0.1, 0.3)
"""Share of the words of a text that are masked, from and to."""
CUT = (0.3, 0.9)
"""Share of a text behind which it is cut, from and to."""
_FEWEST_WORDS = 3


def taught_by_ensemble(task: TrainingTask, seed: int, scratch: Path) -> TrainingTask:
    """The task with the members' mean distributions as targets, where the recipe has an ensemble.

    Args:
        task: With the votes that the members are trained on.
        seed: Of made-up texts; members have seeds of their own.
        scratch: Keeps the answers of members that are done, for a call after a kill.
    """
    if (ensemble := task.recipe.ensemble) is None:
        return task
    texts = task.texts(task.parts.train)
    made_up = _made_up(task, texts, ensemble.variants, seed)
    answers = []
    for number, member in enumerate(ensemble.members):
        recipe, config = task.recipe.of_member(member, task.config)
        student = task._replace(recipe=recipe, config=config)
        found = answers_of(
            student,
            task.trained_on(),
            [*texts, *made_up],
            sub_seed(seed, "member", number),
            scratch / f"member-{number}",
        )
        answers.append(found)
    mean = np.mean(answers, axis=0)
    targets = task.targets.copy()
    targets[task.parts.train] = mean[: len(texts)]
    return task._replace(targets=targets, made_up=Rows(made_up, mean[len(texts) :].tolist()) if made_up else None)


def _made_up(task: TrainingTask, texts: list[str], times: int, seed: int) -> list[str]:
    if not times:
        return []
    mask = load_for_training(task.config, task.labels, seed=seed).tokenizer.mask_token
    return variants_of(texts, times=times, mask=mask, seed=seed)


def variants_of(texts: Sequence[str], *, times: int, mask: str | None, seed: int) -> list[str]:
    """`times` texts per text: by chance with words masked, or its beginning with the end of another.

    Args:
        texts: At least one.
        times: How many are made from each.
        mask: The encoder's token for a hidden word; where it has none, words are left out.
        seed: Of all draws.
    """
    draw = random.Random(f"variants {seed}")
    made = []
    for _ in range(times):
        for text in texts:
            if draw.random() < 0.5:
                made.append(_masked(text, mask, draw))
            else:
                made.append(_joined(text, draw.choice(texts), draw))
    return made


def _masked(text: str, mask: str | None, draw: random.Random) -> str:
    words, between = _words(text)
    share = draw.uniform(*MASKED)
    kept = [mask if draw.random() < share else word for word in words]
    return between.join(word for word in kept if word is not None) or text


def _joined(first: str, second: str, draw: random.Random) -> str:
    beginning, between = _words(first)
    end, _ = _words(second)
    until = max(1, int(len(beginning) * draw.uniform(*CUT)))
    return between.join([*beginning[:until], *end[int(len(end) * draw.uniform(*CUT)) :]])


def _words(text: str) -> tuple[list[str], str]:
    """The words and what joins them; the characters of a text that is not written in words."""
    words = text.split()
    return (words, " ") if len(words) >= _FEWEST_WORDS else (list(text), "")
