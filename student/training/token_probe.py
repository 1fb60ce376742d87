"""First weights of a head over tokens: a logistic regression on what the untrained encoder makes of each token.

As `head.fit_head` has it for texts. Most tokens are outside of any span, and a head of random weights
learns that first. Imports torch: import it where it is needed.
"""

import numpy as np
import torch
from transformers import DataCollatorWithPadding

from xpoll.core.machine.device import best_device
from xpoll.student.dataset import Rows
from xpoll.student.training.encoder import Encoder
from xpoll.student.training.head import MOST_TEXTS, last_linear, logistic_regression
from xpoll.student.training.objectives import NOT_COUNTED, TokenObjective

_BATCH = 32


def fit_token_head(encoder: Encoder, rows: Rows, *, seed: int) -> None:
    """Sets the weights of the last linear layer of `encoder.model` to those of a logistic regression over tokens.

    Args:
        encoder: Untrained, with a head over tokens.
        rows: What it is fitted to: all of them, or `head.MOST_TEXTS` drawn from them.
        seed: Of that draw.
    """
    layer = last_linear(encoder.model, asked_by="probe is")
    chosen = np.random.default_rng(seed).permutation(len(rows.texts))[:MOST_TEXTS].tolist()
    objective, collate = TokenObjective(encoder), DataCollatorWithPadding(encoder.tokenizer)
    features = objective.features(Rows([rows.texts[i] for i in chosen], [rows.targets[i] for i in chosen]))
    model, was_training, was_on = encoder.model, encoder.model.training, encoder.model.device
    read: list[torch.Tensor] = []
    targets: list[torch.Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].float().cpu()))
    model.eval().to(best_device())
    try:
        with torch.no_grad():
            for start in range(0, len(features), _BATCH):
                batch = objective.collate(features[start : start + _BATCH], padded=collate)
                wanted = batch.pop("labels")
                model(**{name: column.to(model.device) for name, column in batch.items()})
                counted = wanted[..., 0] != NOT_COUNTED
                read[-1] = read[-1][counted]
                targets.append(wanted[counted])
    finally:
        hook.remove()
        model.train(was_training).to(was_on)
    weight, bias = logistic_regression(torch.cat(read), torch.cat(targets))
    with torch.no_grad():
        layer.weight.copy_(weight)
        if layer.bias is not None:
            layer.bias.copy_(bias)
