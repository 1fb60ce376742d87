"""What each kind of head aims at: the features of its texts and its loss. Imports torch: import it where needed."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional

from xpoll.core.spans import TextSpan
from xpoll.student.dataset import Rows
from xpoll.student.inference.tags import token_targets
from xpoll.student.recipe import Recipe
from xpoll.student.training.aims import Aims
from xpoll.student.training.encoder import Encoder

NOT_COUNTED = -100
"""Where a target is no target: padding and special tokens; the Trainer counts what is not so."""


class Objective:
    """Features and loss of a head; counts what the model got right while it trains.

    Args:
        encoder: What is trained.
        aims: Further losses of the recipe.
    """

    def __init__(self, encoder: Encoder | None = None, aims: Aims | None = None) -> None:
        self._encoder, self._aims = encoder, aims or Aims(Recipe())
        self._right: Any = 0
        self._counted: Any = 0

    def features(self, rows: Rows) -> list[dict[str, Any]]:
        """Each text as token ids and masks, with its target as `labels`."""
        assert self._encoder is not None
        encoded = self._encoder.encoded(rows.texts)
        return [
            {**{name: column[i] for name, column in encoded.items()}, "labels": list(target)}
            for i, target in enumerate(rows.targets)
        ]

    def collate(self, features: Sequence[dict[str, Any]], *, padded: Callable[[Any], Any]) -> dict[str, Any]:
        """A batch: the features without their targets through `padded`, and the targets as one tensor."""
        texts = [{name: value for name, value in feature.items() if name != "labels"} for feature in features]
        batch = dict(padded(texts))
        return batch | {"labels": self.stacked([feature["labels"] for feature in features], batch)}

    def stacked(self, targets: list[Any], _batch: dict[str, Any]) -> torch.Tensor:
        """(rows, labels) float32."""
        return torch.tensor(targets, dtype=torch.float32)

    def __call__(self, outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
        """The loss in nats per row; num_items_in_batch counts the numbers in the targets of all accumulated rows."""
        logits, targets = outputs.logits.float(), labels.float()
        if torch.is_grad_enabled():
            self._count(logits.detach(), targets)
        rows = self.num_rows(targets) if num_items_in_batch is None else num_items_in_batch / targets.shape[-1]
        return self.summed(logits, targets) / rows

    def num_rows(self, targets: torch.Tensor) -> Any:
        """What the loss is the mean of."""
        return len(targets)

    def summed(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The loss, summed over the rows, in nats."""
        raise NotImplementedError

    def right(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """(rows,) bool: whether the model agrees with the vote."""
        raise NotImplementedError

    def _count(self, logits: torch.Tensor, targets: torch.Tensor) -> None:
        found = self.right(logits, targets)
        self._right += found.sum()
        self._counted += len(found)

    def take_accuracy(self) -> float:
        """Share of the rows since the last call on which the model agreed with the vote."""
        share = int(self._right) / self._counted if self._counted else math.nan
        self._right = self._counted = 0
        return share


class DistributionObjective(Objective):
    """Cross entropy between target distributions and the model's.

    The targets of a row add up to its weight: 1, or less where a row is to count less. In training `aims` are added.
    """

    def summed(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Of (rows, labels) both."""
        return self._aims.loss(logits, targets)

    def right(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Whether the likeliest label has most votes."""
        return logits.argmax(-1) == targets.argmax(-1)


class LabelSetObjective(Objective):
    """Binary cross entropy of each label against the share of votes that say that it fits."""

    def summed(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Of (rows, labels) both, summed over labels too."""
        return functional.binary_cross_entropy_with_logits(logits, targets, reduction="sum")

    def right(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Whether the whole set is that of the votes."""
        return ((logits > 0) == (targets > 0.5)).all(-1)


class TokenObjective(Objective):
    """Cross entropy of each token's tags against the shares of the votes that put the token into a span."""

    def features(self, rows: Rows) -> list[dict[str, Any]]:
        """Each text with the (tokens, tags) shares of its tokens; NOT_COUNTED for special tokens."""
        assert self._encoder is not None
        tokenizer, tags = self._encoder.tokenizer, int(self._encoder.model.config.num_labels)
        encoded = tokenizer(list(rows.texts), truncation=True, return_offsets_mapping=True)
        offsets = encoded.pop("offset_mapping")
        made = []
        for number, (text, marked) in enumerate(zip(rows.texts, rows.targets, strict=True)):
            spans = [TextSpan(int(each[0]), int(each[1]), each[2], float(each[3])) for each in marked]
            shares = token_targets(text, offsets[number], spans, self._labels(), tags)
            shares[[start == end for start, end in offsets[number]]] = NOT_COUNTED
            made.append({**{name: column[number] for name, column in encoded.items()}, "labels": shares.tolist()})
        return made

    def _labels(self) -> list[str]:
        assert self._encoder is not None
        named = self._encoder.model.config.id2label
        return [named[i].removeprefix("B-") for i in range(1, len(named), 2)]

    def stacked(self, targets: list[Any], batch: dict[str, Any]) -> torch.Tensor:
        """(rows, tokens, tags) float32, NOT_COUNTED behind the end of a text."""
        tokens = batch["attention_mask"].shape[1]
        made = torch.full((len(targets), tokens, len(targets[0][0])), float(NOT_COUNTED))
        left = getattr(getattr(self._encoder, "tokenizer", None), "padding_side", "right") == "left"
        for number, target in enumerate(targets):
            place = slice(tokens - len(target), tokens) if left else slice(0, len(target))
            made[number, place] = torch.tensor(target)
        return made

    def num_rows(self, targets: torch.Tensor) -> Any:
        """The number of tokens."""
        return (targets[..., 0] != NOT_COUNTED).sum().clamp(min=1)

    def summed(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Of (rows, tokens, tags) both, over the tokens that count."""
        counted = targets[..., 0] != NOT_COUNTED
        return functional.cross_entropy(logits[counted], targets[counted], reduction="sum")

    def right(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Whether a token's likeliest tag has most votes, of the tokens that count."""
        counted = targets[..., 0] != NOT_COUNTED
        return logits[counted].argmax(-1) == targets[counted].argmax(-1)
