"""Logits of texts from a loaded encoder, shortest texts first. Imports torch when it is called."""

from collections.abc import Callable, Sequence

import numpy as np

from xpoll.student.training.encoder import Encoder, num_positions

INFERENCE_BATCH = 32

Forward = Callable[[list[dict[str, np.ndarray]]], list[np.ndarray]]
"""From batches of token ids and masks, each (texts, tokens), to logits, each (texts, labels)."""


def longest_text(encoder: Encoder) -> int:
    """Tokens that a text is cut at."""
    positions = num_positions(encoder.model)
    limit = int(encoder.tokenizer.model_max_length)
    return min(limit, positions or limit)


def logits(
    encoder: Encoder, texts: Sequence[str], *, forward: Forward | None = None, batch: int = INFERENCE_BATCH
) -> np.ndarray:
    """(texts, labels) float32 in input order. Long texts are cut; texts of similar length share a batch.

    Args:
        encoder: Its model is in eval mode.
        texts: Any number.
        forward: What computes in place of `encoder.model` on the device that this is on.
        batch: Texts that are computed together.
    """
    result = np.zeros((len(texts), encoder.model.config.num_labels), np.float32)
    if not texts:
        return result
    if forward is None:
        from xpoll.student.inference.torch_forward import TorchForward

        forward = TorchForward(encoder.model, [encoder.model.device])
    chosen = length_batches(encoder, texts, batch=batch)
    for (rows, _), found in zip(chosen, forward([padded for _, padded in chosen]), strict=True):
        result[rows] = found
    return result


def length_batches(
    encoder: Encoder, texts: Sequence[str], *, batch: int = INFERENCE_BATCH
) -> list[tuple[list[int], dict[str, np.ndarray]]]:
    """Texts of similar length together, shortest first: their numbers; token ids and masks, each (texts, tokens)."""
    encoded = encoder.encoded(texts, max_length=longest_text(encoder))
    by_length = sorted(range(len(texts)), key=lambda i: len(encoded["input_ids"][i]))
    made = []
    for start in range(0, len(texts), batch):
        rows = by_length[start : start + batch]
        columns = {name: [column[i] for i in rows] for name, column in encoded.items()}
        made.append((rows, dict(encoder.tokenizer.pad(columns, return_tensors="np"))))
    return made
