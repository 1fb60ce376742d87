"""Further aims of training: texts of one label come to be alike, and mixtures get mixed answers."""

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.toy import LABELS, documents, settings
from xpoll.core.errors import ConfigError
from xpoll.student.dataset import Rows
from xpoll.student.inference.logits import logits
from xpoll.student.intel.ipex import chosen_backend
from xpoll.student.recipe import Recipe
from xpoll.student.training.aims import TEMPERATURE, Aims, contrast
from xpoll.student.training.encoder import load_for_training
from xpoll.student.training.fine_tune import Settings, fine_tune

READ = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]])


def test_contrast_is_the_cross_entropy_of_neighbours_of_the_same_label() -> None:
    """Rows 0 and 1 point one way and row 2 another: cosines 1 and 0."""
    near = math.log(1 + math.exp(-1 / TEMPERATURE))
    agreeing = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert contrast(READ, agreeing).item() == pytest.approx(2 * near, abs=1e-6)
    against = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    # Rows 0 and 2 want each other; row 1 has nobody of its label.
    assert contrast(READ, against).item() == pytest.approx(near + 1 / TEMPERATURE + math.log(2), abs=1e-4)
    assert contrast(READ, against / 2).item() == pytest.approx((near + 1 / TEMPERATURE + math.log(2)) / 2, abs=1e-4)


def test_a_row_alone_has_nothing_to_be_like_and_its_gradient_is_a_number() -> None:
    read = torch.ones(1, 4, requires_grad=True)
    summed = read.sum() + contrast(read, torch.tensor([[1.0, 0.0]]))
    summed.backward()
    assert summed.item() == 4 and read.grad is not None and read.grad.isfinite().all()


def test_a_mixture_of_two_texts_is_asked_for_the_mixture_of_their_targets() -> None:
    torch.manual_seed(0)
    head = torch.nn.Linear(2, 2)
    model = Model(head)
    aims = Aims(Recipe(mixup=0.5))
    read, targets = torch.eye(2), torch.eye(2)
    expected = []
    with aims.of(model):
        for _ in range(20):
            state = torch.get_rng_state()
            share = torch.distributions.Beta(0.5, 0.5).sample()
            others = torch.randperm(2)
            torch.set_rng_state(state)
            found = aims.loss(head(read), targets)
            mixed = head(share * read + (1 - share) * read[others]).log_softmax(-1)
            of_mixed = -(mixed * (share * targets + (1 - share) * targets[others])).sum()
            expected.append(((of_mixed - head(read).log_softmax(-1).trace()) / 2).item())
            assert found.item() == pytest.approx(expected[-1], rel=1e-5)
    assert len({round(each, 4) for each in expected}) > 5  # half of the orders mix nothing
    plain = -head(read).log_softmax(-1).trace()
    assert aims.loss(head(read), targets).item() == pytest.approx(plain.item(), rel=1e-6)


class Model(torch.nn.Module):  # type: ignore[misc]
    """A head alone, with a config that says how many labels it has."""

    def __init__(self, head: torch.nn.Module) -> None:
        super().__init__()
        self.head = head
        self.config = type("Config", (), {"num_labels": 2})


def test_contrast_makes_what_the_head_reads_of_one_label_alike(encoder: Path, tmp_path: Path) -> None:
    rows = documents(60)
    texts = [each.text for each in rows]
    targets = [[float(each.label == label) for label in LABELS] for each in rows]
    apart = {}
    for name, more in (("plain", {}), ("contrast", {"contrast": 1.0}), ("both", {"contrast": 0.3, "mixup": 0.5})):
        config = settings(encoder, epochs=6)
        trained = load_for_training(config, LABELS, seed=1)
        how = Settings(config, Recipe.model_validate(more), seed=1, checkpoints=tmp_path / name)
        done = fine_tune(trained, Rows(texts, targets), None, how)
        assert math.isfinite(done.final_loss)
        trained.model.eval()
        read: list[Any] = []
        hook = trained.model.classifier.register_forward_pre_hook(lambda _, given, kept=read: kept.append(given[0]))
        unseen = documents(60, seed=5)
        right = [LABELS[best] == each.label for best, each in zip(answers(trained, unseen), unseen, strict=True)]
        hook.remove()
        assert np.mean(right) > 0.9, name
        apart[name] = within(torch.cat(read))
    assert apart["contrast"] < 0.7 * apart["plain"]


def answers(trained: Any, rows: Any) -> Any:
    rows.sort(key=lambda each: (len(each.text.split()), each.label))
    return logits(trained, [each.text for each in rows]).argmax(1)


def within(read: torch.Tensor) -> float:
    """How far from the nearest of three directions the vectors point, on average, in cosines."""
    directions = torch.nn.functional.normalize(read, dim=-1)
    likeness = directions @ directions.T
    return float(1 - likeness.sort(dim=-1).values[:, -15:].mean())


def test_ipex_is_refused_and_so_is_a_head_that_is_not_linear() -> None:
    config = settings(Path("encoder"), backend="ipex", ipex_python=sys.executable)
    with pytest.raises(ConfigError, match="only native training has -> --set student.recipe=robust"):
        chosen_backend(config, Recipe(mixup=0.5))
    with pytest.raises(ConfigError, match="a Model does not -> "), Aims(Recipe(mixup=0.5)).of(Model(torch.nn.ReLU())):
        pass
