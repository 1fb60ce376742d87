"""The last linear layer of a classifier, and first weights for it that know the texts.

A head of random weights moves an encoder anywhere before it knows what for, and a label that few texts have is the
last to be learned, in short trainings hardly. Here it begins as a logistic regression on what the untrained encoder
makes of the texts (Kumar et al. 2022, "Fine-tuning can distort pretrained features and underperform
out-of-distribution": a linear probe, then fine-tuning). Imports torch: import it where it is needed.
"""

from typing import Any

import numpy as np
import torch
from torch.nn import functional

from xpoll.core.errors import ConfigError
from xpoll.core.machine.device import best_device
from xpoll.student.dataset import Rows
from xpoll.student.inference.logits import length_batches
from xpoll.student.training.encoder import Encoder

MOST_TEXTS = 5000
"""More tell the regression little that is new, and each costs a forward pass."""
PENALTY = 1.0
"""Half of it times the sum of the squared weights is added to the summed cross entropy."""
_MOST_STEPS = 200


def last_linear(model: Any, *, asked_by: str) -> Any:
    """The layer that gives the logits.

    Args:
        model: Of AutoModelForSequenceClassification.
        asked_by: What of a recipe needs it, e.g. "linear_probe is".

    Raises:
        ConfigError: the model's head does not end with a linear layer.
    """
    labels = int(model.config.num_labels)
    layers = [each for each in model.modules() if isinstance(each, torch.nn.Linear) and each.out_features == labels]
    if not layers:
        raise ConfigError(
            f"the recipe's {asked_by} about a head that ends with a linear layer, "
            f"and that of a {type(model).__name__} does not",
            mend="--set student.recipe=robust",
        )
    return layers[-1]


def fit_head(encoder: Encoder, rows: Rows, *, seed: int, yes_no: bool = False) -> None:
    """Sets the weights of the last linear layer of `encoder.model` to those of a logistic regression.

    Args:
        encoder: Untrained, or with a body that is trained already.
        rows: What it is fitted to: all of them, or `MOST_TEXTS` drawn from them.
        seed: Of that draw.
        yes_no: Whether each label is a question of its own, with a share of yes as its target.

    Raises:
        ConfigError: the model's head does not end with a linear layer.
    """
    layer = last_linear(encoder.model, asked_by="linear_probe is")
    chosen = np.random.default_rng(seed).permutation(len(rows.texts))[:MOST_TEXTS].tolist()
    read = _read(encoder, layer, [rows.texts[i] for i in chosen])
    targets = torch.tensor([list(rows.targets[i]) for i in chosen], dtype=read.dtype)
    weight, bias = logistic_regression(read, targets, yes_no=yes_no)
    with torch.no_grad():
        layer.weight.copy_(weight)
        if layer.bias is not None:
            layer.bias.copy_(bias)


def logistic_regression(
    read: torch.Tensor, targets: torch.Tensor, *, yes_no: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights (labels, features) and biases (labels), by L-BFGS; the objective is convex.

    Args:
        read: (rows, features).
        targets: (rows, labels); those of a row add up to its weight.
        yes_no: As of `fit_head`.
    """
    loss = functional.binary_cross_entropy_with_logits if yes_no else functional.cross_entropy
    weight = read.new_zeros(targets.shape[1], read.shape[1], requires_grad=True)
    bias = read.new_zeros(targets.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=_MOST_STEPS, line_search_fn="strong_wolfe")

    def objective() -> torch.Tensor:
        optimizer.zero_grad()
        summed = loss(read @ weight.T + bias, targets, reduction="sum")
        summed = summed + PENALTY / 2 * weight.square().sum()
        summed.backward()
        return summed

    optimizer.step(objective)
    return weight.detach(), bias.detach()


def _read(encoder: Encoder, layer: Any, texts: list[str]) -> torch.Tensor:
    """(texts, features) float32: what the layer reads of each text, without dropout, computed on the best device."""
    model, was_training, was_on = encoder.model, encoder.model.training, encoder.model.device
    batches = length_batches(encoder, texts)
    found: list[torch.Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0].float().cpu()))
    model.eval().to(best_device())
    try:
        with torch.no_grad():
            for _, padded in batches:
                model(**{name: torch.from_numpy(column).to(model.device) for name, column in padded.items()})
    finally:
        hook.remove()
        model.train(was_training).to(was_on)
    read = torch.cat(found)
    return read[torch.tensor([row for rows, _ in batches for row in rows]).argsort()]
