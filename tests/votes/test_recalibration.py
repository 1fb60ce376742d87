"""SciPy's isotonic regression gives what pooling by hand gave, and every step has the documents that it needs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xpoll.core.statistics import expected_calibration_error
from xpoll.votes.methods.recalibration import FEWEST, fitted_recalibration


def pooled(confidence: list[float], documents: list[int], right: list[int]) -> tuple[list[float], list[float]]:
    """Pools adjacent violators, the one with the lower confidence first; what SciPy must give."""
    blocks: list[tuple[float, int, int]] = []
    for block in zip(confidence, documents, right, strict=True):
        blocks.append(block)
        while len(blocks) > 1 and blocks[-2][2] * blocks[-1][1] >= blocks[-1][2] * blocks[-2][1]:
            _, n, hits = blocks.pop()
            low, m, before = blocks.pop()
            blocks.append((low, m + n, before + hits))
    mean = sum(right) / sum(documents)
    return [low for low, _, _ in blocks], [(hits + mean) / (n + 1) for _, n, hits in blocks]


def shares_of(confidence: list[float], documents: list[int], right: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """(documents, 2) shares for the label 0 with so much confidence, and the true labels."""
    sure = np.repeat(confidence, documents)
    truth = np.concatenate([np.arange(n) >= hits for n, hits in zip(documents, right, strict=True)]).astype(int)
    return np.stack([sure, 1 - sure], 1), truth


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(FEWEST, 60), st.floats(0, 1)), min_size=1, max_size=12), st.integers(0, 99))
def test_the_steps_of_enough_documents_are_those_of_pooling_by_hand(counts: list[tuple[int, float]], seed: int) -> None:
    draw = np.random.default_rng(seed)
    confidence = sorted({round(each, 6) for each in 0.5 + draw.uniform(0.01, 0.49, len(counts))})
    documents = [n for n, _ in counts][: len(confidence)]
    right = [round(n * share) for n, share in counts][: len(confidence)]
    shares, truth = shares_of(confidence, documents, right)
    order = draw.permutation(len(truth))
    found = fitted_recalibration(shares[order], truth[order])
    starts, becomes = pooled(confidence, documents, right)
    assert found.from_confidence == pytest.approx(starts)
    assert found.becomes == pytest.approx(becomes)


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 400), st.booleans())
def test_every_step_has_enough_documents_and_stands_above_the_last(seed: int, documents: int, rounded: bool) -> None:
    draw = np.random.default_rng(seed)
    shares = draw.dirichlet(np.full(3, 0.4), documents)
    if rounded:
        shares = shares.round(1) + 1e-6
        shares /= shares.sum(1, keepdims=True)
    truth = np.where(draw.random(documents) < 0.6, shares.argmax(1), draw.integers(-1, 3, documents))
    found = fitted_recalibration(shares, truth)
    ordered = np.sort(shares, 1)
    used = (truth >= 0) & (ordered[:, -1] > ordered[:, -2] + 1e-9)
    if used.sum() < FEWEST:
        assert len(found.becomes) == 0
        return
    assert (np.diff(found.from_confidence) > 0).all()
    step = np.searchsorted(found.from_confidence, ordered[used, -1] + 1e-9, side="right") - 1
    documents, right = np.bincount(step), np.bincount(step, shares[used].argmax(1) == truth[used])
    assert documents.min() >= FEWEST
    assert (np.diff(right / documents) > 0).all()
    assert found.becomes == pytest.approx((right + right.sum() / documents.sum()) / (documents + 1))


def test_a_confidence_that_says_nothing_becomes_the_share_that_is_right() -> None:
    draw = np.random.default_rng(0)
    sure = draw.uniform(0.51, 1, 4000)
    shares, truth = np.stack([sure, 1 - sure], 1), (draw.random(4000) < 0.3).astype(int)
    changed = fitted_recalibration(shares[:2000], truth[:2000]).applied(shares)[2000:]
    assert expected_calibration_error(changed.max(1).tolist(), (truth[2000:] == 0).tolist()) < 0.03
