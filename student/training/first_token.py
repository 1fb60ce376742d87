"""Computes an encoder's last layer at the first token alone, which is all that a classification head reads.

Keys and values still come of all tokens, so the logits are the same; queries, attention's output and the
feed-forward part of the layer, most of its work, are for one token of each text. Imports nothing of xpoll: the
steps in the Intel environment import this file as well.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import transformers

MODEL_TYPES = ("bert", "camembert", "electra", "roberta", "xlm-roberta")
"""Their heads read the first token, and their layers have the parts that are used here."""

_RETURNS_TUPLES = int(transformers.__version__.partition(".")[0]) < 5
"""Layers of Transformers 4 do."""


@contextmanager
def last_layer_at_first_token(model: Any) -> Iterator[None]:
    """Within the block, `model` gives the same logits with less work; a model of another type stays as it is.

    Args:
        model: Of AutoModelForSequenceClassification; its weights and their names stay.
    """
    layer = shorten_last_layer(model)
    try:
        yield
    finally:
        if layer is not None:
            del layer.forward  # that of its class is left


def shorten_last_layer(model: Any) -> Any:
    """The same for good; returns the layer that was changed, or None."""
    layers = _layers(model)
    if not layers:
        return None
    layers[-1].forward = _at_first_token(layers[-1])
    return layers[-1]


def _layers(model: Any) -> Any:
    config = model.config
    if not type(model).__name__.endswith("ForSequenceClassification"):  # a head over tokens reads all of them
        return []
    absolute = getattr(config, "position_embedding_type", "absolute") in (None, "absolute")
    if config.model_type not in MODEL_TYPES or not absolute or getattr(config, "is_decoder", False):
        return []
    return model.base_model.encoder.layer


def _at_first_token(layer: Any) -> Callable[..., Any]:
    attention = layer.attention.self

    def by_head(states: torch.Tensor) -> torch.Tensor:
        return states.unflatten(-1, (attention.num_attention_heads, -1)).transpose(1, 2)

    def forward(hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, *_: Any, **__: Any) -> Any:
        first = hidden_states[:, :1]
        query, key, value = attention.query(first), attention.key(hidden_states), attention.value(hidden_states)
        found = torch.nn.functional.scaled_dot_product_attention(
            by_head(query),
            by_head(key),
            by_head(value),
            attn_mask=_mask_of_first(attention_mask, query.dtype),
            dropout_p=attention.dropout.p if layer.training else 0.0,
        )
        attended = layer.attention.output(found.transpose(1, 2).flatten(2), first)
        output = layer.feed_forward_chunk(attended)
        return (output,) if _RETURNS_TUPLES else output

    return forward


def _mask_of_first(mask: torch.Tensor | None, dtype: torch.dtype) -> torch.Tensor | None:
    """(texts, 1, 1, tokens): the first token's row of a mask, whose shape depends on the attention implementation."""
    if mask is None:
        return None
    if mask.dim() == 2:  # 1 where a token is
        return mask[:, None, None].bool()
    row = mask[:, :, :1]
    return row if row.dtype == torch.bool else row.to(dtype)
