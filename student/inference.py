"""Logits of texts from a loaded encoder, shortest texts first. Imports torch when it is called."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from student.encoder import Encoder, num_positions

INFERENCE_BATCH = 32


def longest_text(encoder: Encoder) -> int:
    """Tokens that a text is cut at."""
    positions = num_positions(encoder.model)
    limit = int(encoder.tokenizer.model_max_length)
    return min(limit, positions or limit)


def logits(encoder: Encoder, texts: Sequence[str], *, device: Any = None) -> np.ndarray:
    """(texts, labels) float32 in input order. Long texts are cut; texts of like length share a batch.

    Args:
        encoder: Its model is on `device`, in eval mode.
        texts: Any number.
        device: Where the model is; the processor unless given.
    """
    import torch

    result = np.zeros((len(texts), encoder.model.config.num_labels), np.float32)
    if not texts:
        return result
    encoded = encoder.tokenizer(list(texts), truncation=True, max_length=longest_text(encoder))
    by_length = sorted(range(len(texts)), key=lambda i: len(encoded["input_ids"][i]))
    with torch.inference_mode():
        for start in range(0, len(texts), INFERENCE_BATCH):
            chosen = by_length[start : start + INFERENCE_BATCH]
            columns = {name: [column[i] for i in chosen] for name, column in encoded.items()}
            batch = encoder.tokenizer.pad(columns, return_tensors="pt").to(device or "cpu")
            result[chosen] = encoder.model(**batch).logits.float().cpu().numpy()
    return result
