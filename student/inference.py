"""Logits of texts from a loaded encoder, shortest texts first. Imports torch when it is called."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from student.encoder import Encoder, num_positions

INFERENCE_BATCH = 32

Forward = Callable[[list[dict[str, np.ndarray]]], list[np.ndarray]]
"""From batches of token ids and masks, each (texts, tokens), to logits, each (texts, labels)."""


def longest_text(encoder: Encoder) -> int:
    """Tokens that a text is cut at."""
    positions = num_positions(encoder.model)
    limit = int(encoder.tokenizer.model_max_length)
    return min(limit, positions or limit)


def logits(encoder: Encoder, texts: Sequence[str], *, device: Any = None, forward: Forward | None = None) -> np.ndarray:
    """(texts, labels) float32 in input order. Long texts are cut; texts of like length share a batch.

    Args:
        encoder: Its model is on `device`, in eval mode.
        texts: Any number.
        device: Where the model is; the processor unless given.
        forward: What computes in place of `encoder.model`.
    """
    result = np.zeros((len(texts), encoder.model.config.num_labels), np.float32)
    if not texts:
        return result
    encoded = encoder.tokenizer(list(texts), truncation=True, max_length=longest_text(encoder))
    by_length = sorted(range(len(texts)), key=lambda i: len(encoded["input_ids"][i]))
    chosen = [by_length[start : start + INFERENCE_BATCH] for start in range(0, len(texts), INFERENCE_BATCH)]

    def batch_of(rows: list[int]) -> dict[str, np.ndarray]:
        columns = {name: [column[i] for i in rows] for name, column in encoded.items()}
        return dict(encoder.tokenizer.pad(columns, return_tensors="np"))

    compute = forward or _with_torch(encoder.model, device or "cpu")
    for rows, found in zip(chosen, compute([batch_of(rows) for rows in chosen]), strict=True):
        result[rows] = found
    return result


def _with_torch(model: Any, device: Any) -> Forward:
    import torch

    from student.first_token import last_layer_at_first_token

    def compute(batches: list[dict[str, np.ndarray]]) -> list[np.ndarray]:
        with torch.inference_mode(), last_layer_at_first_token(model):
            return [
                model(**{name: torch.from_numpy(value).to(device) for name, value in batch.items()})
                .logits.float()
                .cpu()
                .numpy()
                for batch in batches
            ]

    return compute
