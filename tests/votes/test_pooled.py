"""The logarithmic pool: as sure as agreement allows, and told by a few labels whom to believe."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import log_softmax

from xpoll.core.records import Vote
from xpoll.votes.ballots import Ballots, ballots_of
from xpoll.votes.compare import calibration_error
from xpoll.votes.consensus import winners
from xpoll.votes.methods.calibration import calibrated, unbiased
from xpoll.votes.methods.pooled import FEWEST_KNOWN, evidence_of, fitted_pool, pooled, scale_by_agreement

LABELS = ["a", "b", "c", "d"]


def drawn(seed: int, documents: int, sharpness: dict[str, float], shared: float = 0.0) -> tuple[Ballots, np.ndarray]:
    """Log-odds with noise, each model's own or `shared`; a calibrated model says just how sure it may be.

    Args:
        seed: Of everything that is drawn.
        documents: How many.
        sharpness: Of each model, how far the true label stands out in units of the noise.
        shared: Share of the noise's variance that all models have in common.
    """
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, len(LABELS), documents)
    common = rng.normal(size=(documents, len(LABELS)))
    votes = []
    for teacher, sharp in sharpness.items():
        noise = np.sqrt(1 - shared) * rng.normal(size=common.shape) + np.sqrt(shared) * common
        logs = log_softmax(sharp * (sharp * np.eye(len(LABELS))[truth] + noise), axis=1)
        for i, row in enumerate(logs):
            shares = tuple(np.exp(row).tolist())
            label = LABELS[int(row.argmax())]
            votes.append(Vote(f"d{i}", "annotator", 0, label, None, max(shares), shares, None, teacher))
    return ballots_of([f"d{i}" for i in range(documents)], votes, LABELS), truth


def told(ballots: Ballots, truth: np.ndarray, number: int) -> Ballots:
    """The first documents' labels are known."""
    return replace(ballots, known=np.where(np.arange(len(truth)) < number, truth, -1))


def test_independent_models_are_worth_their_sum() -> None:
    ballots, truth = drawn(0, 2000, {"x": 1.5, "y": 1.5})
    assert scale_by_agreement(*evidence_of(ballots, unbiased(ballots, "pooled"))) > 0.85
    shares, mean = pooled(ballots), calibrated(ballots)
    assert (winners(shares) == winners(mean)).all(), "the scale changes no label"
    error, before = calibration_error(shares, truth), calibration_error(mean, truth)
    assert error is not None and before is not None
    assert error < 0.05 < before


def test_models_that_disagree_more_than_they_may_are_not_believed() -> None:
    """The second model says with certainty what it draws by lot."""
    ballots, truth = drawn(1, 1000, {"x": 1.5, "y": 1.5})
    assert ballots.distributions is not None
    at_random = np.random.default_rng(2).permutation(1000)
    rows = ballots.distributions.copy()
    rows[1000:] = rows[1000:][at_random] ** 3
    rows /= rows.sum(1, keepdims=True)
    lots = replace(ballots, distributions=rows, label_of=rows.argmax(1))
    scale = scale_by_agreement(*evidence_of(lots, unbiased(lots, "pooled")))
    assert scale < 0.5
    error = calibration_error(pooled(lots), truth)
    unscaled = calibration_error(_summed(lots), truth)
    assert error is not None and unscaled is not None
    assert error < unscaled / 2


def _summed(ballots: Ballots) -> np.ndarray:
    return np.exp(log_softmax(evidence_of(ballots, unbiased(ballots, "pooled"))[0].sum(0), axis=1))


def test_shared_errors_never_make_it_surer_than_the_sum() -> None:
    ballots, _ = drawn(3, 1000, {"x": 1.0, "y": 1.0}, shared=0.9)
    assert scale_by_agreement(*evidence_of(ballots, unbiased(ballots, "pooled"))) <= 1.0


def test_one_model_alone_is_calibrated_s() -> None:
    ballots, _ = drawn(4, 100, {"x": 1.0})
    assert pooled(ballots) == pytest.approx(calibrated(ballots))
    priors = dict(zip(LABELS, (0.7, 0.1, 0.1, 0.1), strict=True))
    assert pooled(replace(ballots, priors=priors)) == pytest.approx(calibrated(replace(ballots, priors=priors)))


def test_a_few_labels_tell_whom_to_believe() -> None:
    ballots, truth = drawn(5, 1000, {"good": 2.5, "poor": 0.01})
    assert ballots.distributions is not None
    rows = ballots.distributions.copy()
    rows[1000:] = np.eye(4)[np.random.default_rng(0).integers(0, 4, 1000)] * 0.96 + 0.01  # sure, and wrong
    loud = replace(ballots, distributions=rows, label_of=rows.argmax(1))
    unseen = np.arange(1000) >= 40
    before = (winners(pooled(loud)) == truth)[unseen].mean()
    after = (winners(pooled(told(loud, truth, 40))) == truth)[unseen].mean()
    good = (winners(pooled(loud.of_teacher(0))) == truth)[unseen].mean()
    assert before < good - 0.1
    assert after > good - 0.02


def test_labels_teach_one_model_how_sure_to_be() -> None:
    """Nearly flat shares, as those of a small model are, become what they are worth."""
    ballots, truth = drawn(6, 1000, {"x": 2.0})
    assert ballots.distributions is not None
    flat = ballots.distributions**0.1
    nearly = replace(ballots, distributions=flat / flat.sum(1, keepdims=True))
    unseen = np.where(np.arange(1000) < 60, -1, truth)
    before, after = (calibration_error(pooled(each), unseen) for each in (nearly, told(nearly, truth, 60)))
    assert before is not None and after is not None
    assert before > 0.2
    assert after < before / 2


def test_too_few_labels_teach_nothing() -> None:
    ballots, truth = drawn(7, 200, {"x": 1.0, "y": 1.0})
    assert pooled(told(ballots, truth, FEWEST_KNOWN - 1)) == pytest.approx(pooled(ballots))
    assert pooled(told(ballots, truth, FEWEST_KNOWN)) != pytest.approx(pooled(ballots))


def test_the_fit_s_slope_is_that_of_its_loss() -> None:
    """At the optimum no small step of a weight or bias lowers cross entropy plus ridge."""
    ballots, truth = drawn(8, 60, {"x": 1.0, "y": 0.5})
    evidence, _ = evidence_of(ballots, unbiased(ballots, "pooled"))
    start = np.ones(2), np.zeros(4)
    weights, bias = fitted_pool(evidence, truth, *start)

    def loss(w: np.ndarray, b: np.ndarray) -> float:
        logs = log_softmax(np.tensordot(w, evidence, 1) + b, axis=1)
        return float(-logs[np.arange(60), truth].sum() + ((w - 1) ** 2).sum() + (b**2).sum())

    best = loss(weights, bias)
    assert best < loss(*start)
    for step in (1e-2, -1e-2):
        assert all(loss(weights + step * row, bias) > best for row in np.eye(2))
        assert all(loss(weights, bias + step * row) > best for row in np.eye(4))


def test_a_text_without_an_answer_stays_without_shares() -> None:
    ballots, _ = drawn(9, 50, {"x": 1.0, "y": 1.0})
    some = ballots.only((ballots.document_of != 7) & ((ballots.document_of != 8) | (ballots.persona_of == 0)))
    shares = pooled(some)
    assert np.isnan(shares[7]).all()
    assert not np.isnan(shares[8]).any(), "one of two answered"
