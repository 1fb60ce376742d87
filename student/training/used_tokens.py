"""Trains the embeddings of the tokens that a training's texts have, and no others.

A vocabulary has tens of thousands of tokens, some thousand texts have a few thousand of them. The other embeddings,
with MiniLM more than a third of all weights, get no gradient, yet every step would clear, clip and update them. Here
they are left out while a training lasts. All other weights become what they would become with them; they themselves
keep their values, where weight decay would shrink them. Imports torch: import it where it is needed.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def used_tokens_alone(model: Any, encoded: Iterable[Sequence[int]], *, pad: int) -> Iterator[None]:
    """Within the block, `model` has embeddings for the tokens of `encoded` alone; it takes the same token ids.

    A model whose embeddings are frozen, or no `torch.nn.Embedding`, stays as it is.

    Args:
        model: Of AutoModelForSequenceClassification; behind the block it has all its embeddings, the trained ones in
            their places.
        encoded: Token ids of every text that it will meet within the block.
        pad: Token id of padding, which it will meet as well.
    """
    whole = model.get_input_embeddings()
    if type(whole) is not torch.nn.Embedding or not whole.weight.requires_grad:
        yield
        return
    used = _Used(whole, sorted({pad, *(token for ids in encoded for token in ids)}))
    model.set_input_embeddings(used)
    try:
        yield
    finally:
        with torch.no_grad():
            whole.to(used.weight.device).weight[used.tokens] = used.weight
        model.set_input_embeddings(whole)


class _Used(torch.nn.Module):  # type: ignore[misc]
    """Some rows of `whole`, found by their numbers there."""

    def __init__(self, whole: torch.nn.Embedding, tokens: Sequence[int]) -> None:
        super().__init__()
        chosen = torch.tensor(tokens, device=whole.weight.device)
        places = torch.full((whole.num_embeddings,), -1, device=chosen.device)
        places[chosen] = torch.arange(len(tokens), device=chosen.device)
        self.register_buffer("tokens", chosen, persistent=False)
        self.register_buffer("_places", places, persistent=False)
        self.weight = torch.nn.Parameter(whole.weight.detach()[chosen])
        self._padding = tokens.index(whole.padding_idx) if whole.padding_idx in tokens else None

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.embedding(self._places[ids], self.weight, self._padding)
