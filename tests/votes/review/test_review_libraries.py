"""SciPy and scikit-learn give what the formulas that they took the place of gave; the formulas stand here."""

import math
import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from xpoll.core.sameness import first_of_same
from xpoll.votes.review.bound import largest_share
from xpoll.votes.review.label_errors import FOLDS, SMOOTHING, text_probabilities

WORD = re.compile(r"\w+|[^\w\s]")


def at_most(hits: int, draws: int, share: float) -> float:
    """P(X <= hits) for X ~ Binomial(draws, share)."""
    logs = [
        math.lgamma(draws + 1) - math.lgamma(k + 1) - math.lgamma(draws - k + 1)
        + k * math.log(share) + (draws - k) * math.log1p(-share)
        for k in range(hits + 1)
    ]  # fmt: skip
    return math.fsum(map(math.exp, logs))


@settings(deadline=None)
@given(draws=st.integers(1, 3000), alpha=st.sampled_from([0.001, 0.01, 0.05, 0.2]), data=st.data())
def test_the_bound_is_where_so_few_hits_are_as_rare_as_alpha_says(
    draws: int, alpha: float, data: st.DataObject
) -> None:
    hits = data.draw(st.integers(0, draws) | st.sampled_from([0, draws]))
    bound = largest_share(hits, draws, alpha)
    assert hits / draws <= bound <= 1
    if hits == draws:
        assert bound == 1
    else:
        assert at_most(hits, draws, bound) == pytest.approx(alpha, rel=1e-6)


def naive_bayes(texts: list[str], labels: np.ndarray, num_labels: int, *, seed: int) -> np.ndarray:
    """Counts by hand, with a number per term instead of a hash."""
    number: dict[str, int] = {}
    features = []
    for text in texts:
        words = WORD.findall(text.lower())
        terms = {*words, *(f"{a} {b}" for a, b in pairwise(words))}
        features.append([number.setdefault(term, len(number)) for term in sorted(terms)])
    fold_of = np.random.default_rng(seed).permutation(len(texts))[first_of_same(texts)] % FOLDS
    probabilities = np.full((len(texts), num_labels), np.nan)
    for i, mine in enumerate(features):
        counts = np.zeros((num_labels, 2**18))
        trained_on = np.flatnonzero(fold_of != fold_of[i])
        for j in trained_on:
            counts[labels[j], features[j]] += 1
        logs = np.log(counts + SMOOTHING) - np.log((counts + SMOOTHING).sum(1, keepdims=True))
        prior = np.log(np.bincount(labels[trained_on], minlength=num_labels) + 1.0)
        scores = prior + logs[:, mine].sum(1) / np.sqrt(max(1, len(mine)))
        shares = np.exp(scores - scores.max())
        probabilities[i] = shares / shares.sum()
    return probabilities


TEXTS = st.lists(st.text("ab Ä.!7\n'", max_size=20), min_size=1, max_size=12)


@settings(deadline=None, max_examples=25)
@given(texts=TEXTS, num_labels=st.integers(2, 4), seed=st.integers(0, 5), data=st.data())
def test_the_naive_bayes_of_a_text(texts: list[str], num_labels: int, seed: int, data: st.DataObject) -> None:
    assume(any(text.strip() for text in texts))
    drawn = st.lists(st.integers(0, num_labels - 1), min_size=len(texts), max_size=len(texts))
    labels = np.array(data.draw(drawn))
    found = text_probabilities(texts, labels, num_labels, seed=seed)
    assert found == pytest.approx(naive_bayes(texts, labels, num_labels, seed=seed), abs=1e-9)


def test_texts_without_a_word_tell_no_label_from_another() -> None:
    for texts in (["", " \n", "\t"], ["alone"]):
        assert (text_probabilities(texts, np.zeros(len(texts), int), 2, seed=0) == 0.5).all()
