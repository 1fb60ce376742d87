"""A head that begins as a logistic regression on what the untrained encoder makes of the texts."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from tests.support.toy import LABELS, documents, settings
from xpoll.core.errors import ConfigError
from xpoll.student.dataset import Rows
from xpoll.student.inference.logits import logits
from xpoll.student.recipe import Recipe
from xpoll.student.train import train_student
from xpoll.student.training import head
from xpoll.student.training.encoder import Encoder, load_for_training
from xpoll.student.training.head import fit_head, logistic_regression


def toy_rows(number: int) -> Rows:
    rows = documents(number)
    return Rows([each.text for each in rows], [[float(each.label == label) for label in LABELS] for each in rows])


def test_the_regression_is_that_of_scikit_learn_with_soft_targets_and_weights() -> None:
    draw = np.random.default_rng(0)
    read = draw.normal(size=(200, 6))
    targets = draw.dirichlet([0.3, 0.3, 0.3], size=200) * draw.uniform(0.2, 1, size=(200, 1))
    expected = LogisticRegression(C=1 / head.PENALTY, max_iter=1000, tol=1e-8)
    rows, labels = np.nonzero(targets > 0)
    expected.fit(read[rows], labels, sample_weight=targets[rows, labels])
    weight, bias = logistic_regression(torch.tensor(read), torch.tensor(targets))
    assert weight.numpy() == pytest.approx(expected.coef_, abs=1e-3)
    assert (bias - bias.mean()).numpy() == pytest.approx(expected.intercept_ - expected.intercept_.mean(), abs=1e-3)


def test_an_untrained_encoder_with_a_fitted_head_knows_its_texts_and_a_random_one_does_not(encoder: Path) -> None:
    rows = toy_rows(90)
    right = {}
    for fitted in (False, True):
        untrained = load_for_training(settings(encoder), LABELS, seed=1)
        before = {name: weight.clone() for name, weight in untrained.model.state_dict().items()}
        untrained.model.train()
        if fitted:
            fit_head(untrained, rows, seed=0)
        assert untrained.model.training
        changed = [name for name, weight in untrained.model.state_dict().items() if not weight.equal(before[name])]
        assert changed == (["classifier.weight", "classifier.bias"] if fitted else [])
        untrained.model.eval()
        right[fitted] = (logits(untrained, rows.texts).argmax(1) == np.argmax(rows.targets, 1)).mean()
    assert right[False] < 0.5 and right[True] > 0.7


def test_a_draw_of_the_texts_is_read_where_there_are_many(encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    untrained = load_for_training(settings(encoder), LABELS, seed=1)
    seen = []
    untrained.model.register_forward_pre_hook(
        lambda _, __, given: seen.append(len(given["input_ids"])), with_kwargs=True
    )
    monkeypatch.setattr(head, "MOST_TEXTS", 40)
    fit_head(untrained, toy_rows(90), seed=0)
    assert sum(seen) == 40 and len(seen) == 2


def test_a_label_that_no_text_has_is_not_answered_and_weights_are_numbers(encoder: Path) -> None:
    rows = toy_rows(60)
    without = [(text, target) for text, target in zip(rows.texts, rows.targets, strict=True) if not target[0]]
    untrained = load_for_training(settings(encoder), LABELS, seed=1)
    fit_head(untrained, Rows([text for text, _ in without], [target for _, target in without]), seed=0)
    assert untrained.model.classifier.weight.isfinite().all()
    untrained.model.eval()
    assert set(logits(untrained, rows.texts).argmax(1)) == {1, 2}


def test_a_student_learns_in_fewer_passes_with_a_fitted_head(encoder: Path, tmp_path: Path) -> None:
    """One pass at a rate at which a random head learns nothing."""
    losses = {}
    for fitted in (False, True):
        config, output = settings(encoder, epochs=1, learning_rate=1e-4), tmp_path / str(fitted)
        recipe = Recipe(linear_probe=fitted)
        made = train_student(documents(240), LABELS, config=config, seed=0, output=output, recipe=recipe)
        losses[fitted] = made.final_loss
    assert losses[True] < losses[False] - 0.2


def test_a_head_that_does_not_end_with_a_linear_layer_is_refused(encoder: Path) -> None:
    untrained = load_for_training(settings(encoder), LABELS, seed=1)
    untrained.model.classifier = torch.nn.Identity()
    with pytest.raises(
        ConfigError, match="the recipe's linear_probe is about a head .* -> --set student.recipe=robust"
    ):
        fit_head(Encoder(untrained.tokenizer, untrained.model), toy_rows(9), seed=0)
