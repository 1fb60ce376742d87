"""Steps of texts of similar length, in random order. Imports torch: import it where it is needed.

Texts of one length need no padding, and on a CPU padding costs as much as text. Transformers'
`group_by_length` sorts a quarter of a pass, at most 50 steps, from long to short and trains in that order,
so that a pass goes through all lengths at least four times and ends with the shortest; labels depend on
length, so steps pull one way for long. Here texts are sorted within stretches of a few steps, and the
steps are shuffled.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import Sampler
from transformers import Trainer

STRETCH = 16
"""Steps whose texts are sorted together: more saves little padding and leaves less to chance."""


class LikeLengths(Sampler[int]):  # type: ignore[misc]
    """Numbers of texts, each once a pass.

    Args:
        lengths: Of the texts, in tokens.
        step: Texts of one step: batch size times accumulation times devices.
        seed: Of the order; with the number of the pass it decides it, so a resumed training meets
            the same batches.
    """

    def __init__(self, lengths: Sequence[int], step: int, seed: int) -> None:
        self.lengths, self.step, self.seed, self.epoch = lengths, step, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Which pass the next one is; the Trainer calls it."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        chance = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        drawn = torch.randperm(len(self.lengths), generator=chance).tolist()
        # The texts of the last step, which may be short, are any: a short step elsewhere would shift those behind it.
        whole = len(drawn) - len(drawn) % self.step
        steps = []
        for start in range(0, whole, STRETCH * self.step):
            stretch = sorted(drawn[start : min(start + STRETCH * self.step, whole)], key=self.lengths.__getitem__)
            steps += [stretch[first : first + self.step] for first in range(0, len(stretch), self.step)]
        for number in torch.randperm(len(steps), generator=chance).tolist():
            yield from steps[number]
        yield from drawn[whole:]


class LengthTrainer(Trainer):  # type: ignore[misc]
    """transformers.Trainer with that order of texts."""

    def _get_train_sampler(self, train_dataset: Any = None) -> LikeLengths:
        lengths = [len(feature["input_ids"]) for feature in train_dataset or self.train_dataset]
        step = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        return LikeLengths(lengths, step, self.args.seed)
