"""Embeds sentences as vectors whose dot product is their similarity. PyTorch is imported when it is needed."""

from collections.abc import Sequence

import numpy as np

from xpoll.core.models import resolve_model

ENCODER = "all-minilm-l6-v2"
_BATCH, _MAX_TOKENS = 32, 128


def find_encoder() -> str:
    """The folder of the encoder's weights.

    Raises:
        ModelError: its package is not installed.
    """
    return resolve_model(ENCODER, key="panel.persona_file")


def embed(texts: Sequence[str]) -> np.ndarray:
    """(texts, 384) float32, rows of length 1: the mean over each text's tokens, of which the first 128 count.

    Raises:
        ModelError: the encoder's package is not installed.
    """
    folder = find_encoder()
    import torch
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    encoder = AutoModel.from_pretrained(
        folder, dtype=torch.float32, trust_remote_code=False, use_safetensors=True
    ).eval()
    by_length = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # so that batches need little padding
    vectors = np.empty((len(texts), encoder.config.hidden_size), np.float32)
    with torch.inference_mode():
        for start in range(0, len(texts), _BATCH):
            rows = by_length[start : start + _BATCH]
            batch = tokenizer(
                [texts[i] for i in rows], padding=True, truncation=True, max_length=_MAX_TOKENS, return_tensors="pt"
            )
            states = encoder(**batch).last_hidden_state
            mask = batch["attention_mask"].unsqueeze(-1)
            means = (states * mask).sum(1) / mask.sum(1)
            vectors[rows] = torch.nn.functional.normalize(means, dim=1).numpy()
    return vectors
