"""Several trainings from the same first weights, averaged weight by weight into one model.

Trainings that differ in nothing but the order of their rows end in the same basin of the loss, where the
mean of the weights answers about as well as the mean of the answers does (Wortsman et al. 2022, "Model
soups"), at the price of one model to serve. Imports torch: import it where it is needed.
"""

from collections.abc import Callable
from pathlib import Path
from statistics import fmean

import torch
from safetensors.torch import load_file, save_file

from xpoll.core.files import read_json, write_json
from xpoll.student.training.encoder import Encoder
from xpoll.student.training.rows import FineTuning

BETWEEN = 1_000_003
"""Step from the seed of one training to the next: far from the seeds of other students, which count up by one."""
WEIGHTS = "weights.safetensors"


def averaged(
    encoder: Encoder, train: Callable[[int, Path], FineTuning], *, times: int, seed: int, scratch: Path
) -> FineTuning:
    """Trains `encoder.model` `times` times and leaves the mean of the weights in it.

    Args:
        encoder: What to train; each training begins with the weights it has now.
        train: From the seed and the folder for checkpoints to one training of `encoder.model`.
        times: At least 2.
        seed: Of the first training.
        scratch: Keeps trainings that are done, for a call after a kill.

    Returns:
        Losses, passes and time of all: means, and the sum of the time.
    """
    first = {name: weight.clone() for name, weight in encoder.model.state_dict().items()}
    total = {name: torch.zeros_like(weight, dtype=torch.float64) for name, weight in first.items()}
    done = []
    for number in range(times):
        folder = scratch / f"member-{number}"
        if not (folder / "done.json").exists():
            encoder.model.load_state_dict(first)
            made = train(seed + number * BETWEEN, folder)
            folder.mkdir(parents=True, exist_ok=True)
            weights = {name: weight.contiguous() for name, weight in encoder.model.state_dict().items()}
            save_file(weights, folder / WEIGHTS)
            write_json(folder / "done.json", made._asdict())
        done.append(FineTuning(**read_json(folder / "done.json")))
        for name, weight in load_file(folder / WEIGHTS).items():
            total[name] += weight
    encoder.model.load_state_dict({name: (total[name] / times).to(first[name].dtype) for name in first})
    held_out = [each.held_out_loss for each in done if each.held_out_loss is not None]
    return done[-1]._replace(
        wall_s=sum(each.wall_s for each in done),
        final_loss=fmean(each.final_loss for each in done),
        held_out_loss=fmean(held_out) if held_out else None,
        epochs=fmean(each.epochs for each in done),
    )
