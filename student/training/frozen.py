"""Trains only the upper part of an encoder, and computes what the lower part makes of each text once.

Frozen parts give the same output for a text in every pass, so it is kept; a step then costs the upper
layers alone. Imports torch: import it where it is needed.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from xpoll.core.errors import ConfigError

MOST_BYTES = 2**30
"""Kept outputs may take this much memory; with more text the frozen parts are computed in every step."""
_BATCH = 32


def freeze(model: Any, parts: int) -> None:
    """Keeps the weights of the embeddings and of the `parts - 1` lowest layers.

    Raises:
        ConfigError: the encoder has fewer layers, or none that can be told apart.
    """
    if parts == 0:
        return
    body = model.base_model
    layers = _layers(body)
    if layers is None:
        raise ConfigError(
            f"student.frozen is {parts}, and the layers of a {type(body).__name__} are not known",
            mend="--set student.frozen=0",
        )
    if parts > len(layers):
        raise ConfigError(
            f"student.frozen is {parts}, and the encoder has embeddings and {len(layers)} layers",
            mend=f"--set student.frozen={len(layers)} or less",
        )
    for part in [body.embeddings, *layers][:parts]:
        part.requires_grad_(False)


@contextmanager
def upper_part(model: Any, parts: int) -> Iterator[None]:
    """Within the block the model begins behind its frozen parts: it takes their output as `inputs_embeds`."""
    body = model.base_model
    embeddings, layers = body.embeddings, _layers(body)
    body.embeddings, body.encoder.layer = _Passed(), layers[parts - 1 :]
    try:
        yield
    finally:
        body.embeddings, body.encoder.layer = embeddings, layers


def kept_bytes(model: Any, encoded: Sequence[Sequence[int]]) -> int:
    """What the outputs of frozen parts take in memory."""
    return sum(map(len, encoded)) * int(model.config.hidden_size) * 4


def lower_outputs(model: Any, encoded: Sequence[Sequence[int]], *, parts: int, pad: int) -> list[torch.Tensor]:
    """For each text (tokens, hidden) float32: the output of the embeddings and of the `parts - 1` lowest layers.

    Args:
        model: On the device to compute on.
        encoded: Token ids of each text.
        parts: At least 1.
        pad: Token id of padding.
    """
    body = model.base_model
    layers, was_training = _layers(body), model.training
    body.encoder.layer = layers[: parts - 1]
    model.eval()
    made: list[torch.Tensor] = [torch.empty(0)] * len(encoded)
    by_length = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))
    try:
        with torch.no_grad():
            for start in range(0, len(encoded), _BATCH):
                chosen = by_length[start : start + _BATCH]
                longest = len(encoded[chosen[-1]])
                ids = torch.tensor([[*encoded[i], *[pad] * (longest - len(encoded[i]))] for i in chosen])
                mask = torch.tensor([[k < len(encoded[i]) for k in range(longest)] for i in chosen]).long()
                output = body(input_ids=ids.to(model.device), attention_mask=mask.to(model.device))
                for i, states in zip(chosen, output.last_hidden_state.float().cpu(), strict=True):
                    made[i] = states[: len(encoded[i])].clone()
    finally:
        body.encoder.layer = layers
        model.train(was_training)
    return made


def collate(features: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Pads lower outputs to the longest of a batch."""
    states = [feature["lower_output"] for feature in features]
    padded = torch.nn.utils.rnn.pad_sequence(states, batch_first=True)
    lengths = torch.tensor([len(each) for each in states])
    return {
        "inputs_embeds": padded,
        "attention_mask": (torch.arange(padded.shape[1])[None] < lengths[:, None]).long(),
    }


class _Passed(torch.nn.Module):  # type: ignore[misc]
    """Stands in place of embeddings that were computed before."""

    def forward(self, inputs_embeds: torch.Tensor, **_: Any) -> torch.Tensor:
        return inputs_embeds


def _layers(body: Any) -> Any:
    found = getattr(getattr(body, "encoder", None), "layer", None)
    return found if hasattr(body, "embeddings") else None
