"""How likely a language model holds the learned tokens of rows. Imports torch: import it where it is needed."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from xpoll.core.progress import Progress
from xpoll.student.causal_lm.tokens import Tokens

TOKENS_PER_BATCH = 1024
"""With padding: logits of a vocabulary of 150,000 then take 0.6 GB in fp32."""


def row_losses(model: Any, rows: Sequence[Tokens], *, pad: int) -> np.ndarray:
    """(rows,): the summed negative log-likelihood of each row's learned tokens, in nats.

    Args:
        model: A causal language model in eval mode.
        rows: Each has at least one learned token.
        pad: Token id of padding, which is masked.
    """
    order = sorted(range(len(rows)), key=lambda number: len(rows[number].ids))
    found = np.zeros(len(rows))
    with torch.inference_mode(), Progress("scoring held-out rows", total=len(rows), unit="rows") as progress:
        for batch in _batches(order, rows):
            longest = max(len(rows[number].ids) for number in batch)
            ids = torch.full((len(batch), longest), pad)
            labels, mask = torch.full_like(ids, -100), torch.zeros_like(ids)
            for place, number in enumerate(batch):
                length = len(rows[number].ids)
                ids[place, :length] = torch.tensor(rows[number].ids)
                labels[place, :length] = torch.tensor(rows[number].labels)
                mask[place, :length] = 1
            logits = model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device)).logits[:, :-1]
            losses = torch.nn.functional.cross_entropy(
                logits.float().transpose(1, 2), labels[:, 1:].to(model.device), ignore_index=-100, reduction="none"
            )
            found[batch] = losses.sum(1).double().cpu().numpy()
            progress.add(len(batch))
    return found


def _batches(order: Sequence[int], rows: Sequence[Tokens]) -> list[list[int]]:
    """Rows of ascending length in batches of at most TOKENS_PER_BATCH tokens with padding, or of one row."""
    batches: list[list[int]] = []
    for number in order:
        if batches and (len(batches[-1]) + 1) * len(rows[number].ids) <= TOKENS_PER_BATCH:
            batches[-1].append(number)
        else:
            batches.append([number])
    return batches
