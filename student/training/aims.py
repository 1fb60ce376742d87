"""Aims of training beside the voted label, on what a head reads of each text: less is learned by heart.

Contrast (Khosla et al. 2020, "Supervised contrastive learning"; Gunel et al. 2021 for fine-tuned encoders):
texts of one label come to lie closer to each other than to those of other labels. Mixup (Zhang et al. 2018,
"mixup: Beyond empirical risk minimization", here as Verma et al. 2019 have it, of what the head reads): between two
texts the answer goes from one's target to the other's. Imports torch: import it where it is needed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import functional

from xpoll.student.recipe import Recipe
from xpoll.student.training.head import last_linear

TEMPERATURE = 0.1
"""Of the contrast: what cosines are divided by."""


class Aims:
    """Losses of a batch, from what the last linear layer of the model's head reads.

    Args:
        recipe: Its `contrast` is the weight of that aim, its `mixup` says how texts are mixed.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._contrast, self._mixup = recipe.contrast, recipe.mixup
        self._read: torch.Tensor | None = None
        self._head: Any = None

    @contextmanager
    def of(self, model: Any) -> Iterator[None]:
        """Within the block it sees what the head of `model` reads.

        Raises:
            ConfigError: an aim has a weight, and the model's head does not end with a linear layer.
        """
        if not self._contrast and not self._mixup:
            yield
            return
        self._head = last_linear(model, asked_by="contrast and mixup are")
        hook = self._head.register_forward_pre_hook(self._keep)
        try:
            yield
        finally:
            hook.remove()

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Summed over the rows of a batch, in nats: cross entropy, half of it of mixed texts, and the contrast.

        Args:
            logits: (rows, labels) that the model has just given.
            targets: (rows, labels); those of a row add up to its weight.
        """
        summed = functional.cross_entropy(logits, targets, reduction="sum")
        if self._read is None or not torch.is_grad_enabled():
            return summed
        read, self._read = self._read.float(), None
        if self._mixup:
            summed = (summed + self._of_mixed(read, targets)) / 2
        if self._contrast:
            summed = summed + self._contrast * contrast(read, targets)
        return summed

    def _keep(self, _: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        self._read = inputs[0]

    def _of_mixed(self, read: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        share = torch.distributions.Beta(self._mixup, self._mixup).sample().to(read.device)
        others = torch.randperm(len(read)).to(read.device)
        logits = self._head(share * read + (1 - share) * read[others]).float()
        self._read = None  # the head has just read mixed texts
        return functional.cross_entropy(logits, share * targets + (1 - share) * targets[others], reduction="sum")


def contrast(read: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Summed over the rows of a batch, in nats: how little each one's neighbours share its label.

    Args:
        read: (rows, features).
        targets: (rows, labels); two rows are of one label as far as both have a share in it.
    """
    if len(read) < 2:
        return read.new_zeros(())
    directions = functional.normalize(read, dim=-1)
    itself = torch.eye(len(read), dtype=torch.bool, device=read.device)
    likeness = (directions @ directions.T / TEMPERATURE).masked_fill(itself, -torch.inf)
    wanted = (targets @ targets.T).masked_fill(itself, 0.0)
    wanted = wanted / wanted.sum(1, keepdim=True).clamp_min(1e-6)
    found = likeness.log_softmax(-1).masked_fill(itself, 0.0)
    weight = targets.sum(1)
    return -(weight * (wanted * found).sum(-1)).sum()
