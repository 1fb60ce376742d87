"""A logarithmic pool of unlike models: whom to believe is learnt from an audit, how far from agreement alone.

Each teacher is a vector of log-odds per document, the mean of its answers without their label bias. The pool adds these
up, each by a weight, and is a softmax of the sum.

Models that err independently are worth the sum itself, every weight 1. Where they agree less often than the pool's own
confidence implies, it is too sure, and all weights are scaled down until both are equal. Two models cannot tell by
agreement which of them is right: that takes labels that people gave. With some of those, the weights and a share of
each label are fitted to them, held near what agreement says.
"""

from collections.abc import Callable

import numpy as np

from xpoll.votes.ballots import Ballots, Shares
from xpoll.votes.methods.calibration import unbiased, unbiased_by

FEWEST_KNOWN = 20
"""Labelled documents from which weights are fitted."""
RIDGE = 2.0
"""How strongly weights and biases are held: as by two labelled documents that lie one unit off."""
FLATTEST = 0.1
"""Scale below which the pool is not flattened, however seldom models agree."""


def pooled(ballots: Ballots) -> Shares:
    """(documents, labels): shares of the pool; NaN where no teacher has an answer with a distribution.

    Source: Genest and Zidek, "Combining Probability Distributions", Statistical Science 1 (1986), logarithmic pools;
    Platanios, Blum and Mitchell, "Estimating Accuracy from Unlabeled Data", UAI 2014, for what agreement implies.

    Raises:
        InputError: no vote has a distribution.
    """
    evidence, answered = evidence_of(ballots, unbiased(ballots, "pooled"))
    return _pool(evidence, answered, *_learnt(ballots, evidence, answered))


def kept_pool(run: Ballots) -> Callable[[Ballots], Shares]:
    """`pooled` for documents that were not in the run, by the bias, weights and scale that its votes show.

    Raises:
        InputError: no vote of the run has a distribution.
    """
    logs_of = unbiased_by(run, "pooled")
    evidence, answered = evidence_of(run, unbiased(run, "pooled"))
    weights, bias = _learnt(run, evidence, answered)

    def count(ballots: Ballots) -> Shares:
        # A teacher of the run need not have answered.
        places = [run.teacher_ids.index(name) for name in ballots.teacher_ids] if run.teacher_ids else [0]
        return _pool(*evidence_of(ballots, logs_of(ballots)), weights[places], bias)

    return count


def _learnt(ballots: Ballots, evidence: np.ndarray, answered: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weight of each teacher and bias of each label, as agreement and known labels say."""
    weights, bias = np.full(len(evidence), scale_by_agreement(evidence, answered)), np.zeros(len(ballots.labels))
    known = np.full(ballots.num_documents, -1) if ballots.known is None else ballots.known
    told = (known >= 0) & answered.any(0)
    if ballots.priors is not None:
        bias = np.log([ballots.priors[label] for label in ballots.labels])
    if told.sum() >= FEWEST_KNOWN:
        weights, bias = fitted_pool(evidence[:, told], known[told], weights, bias)
    return weights, bias


def _pool(evidence: np.ndarray, answered: np.ndarray, weights: np.ndarray, bias: np.ndarray) -> Shares:
    scores = np.tensordot(weights, evidence, 1) + bias
    scores[~answered.any(0)] = np.nan
    return _softmax(scores)


def evidence_of(ballots: Ballots, logs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each teacher's mean log-distribution per document, and whether it answered.

    Args:
        ballots: The votes.
        logs: (votes, labels) of their log-distributions without label bias; NaN where a vote has none.

    Returns:
        (teachers, documents, labels) natural logarithms up to a constant, 0 where it did not answer; and
        (teachers, documents) of booleans.
    """
    read = ~np.isnan(logs[:, 0])
    kept = ballots.only(read)
    teacher = np.zeros(len(kept.document_of), int) if kept.teacher_of is None else kept.teacher_of[kept.persona_of]
    cell = teacher * ballots.num_documents + kept.document_of
    size = ballots.num_teachers * ballots.num_documents
    sums = np.stack([np.bincount(cell, column, minlength=size) for column in logs[read].T], 1)
    answers = np.bincount(cell, minlength=size)
    shape = ballots.num_teachers, ballots.num_documents
    return (sums / np.maximum(answers, 1)[:, None]).reshape(*shape, -1), (answers > 0).reshape(shape)


def scale_by_agreement(evidence: np.ndarray, answered: np.ndarray) -> float:
    """The largest scale up to 1 at which the pool is no surer than the agreement of the teachers allows.

    How often a teacher names the right label is what the pool believes of the labels that it names; two teachers that
    err independently, each wrong label as likely as the next, then agree with a known probability. Never above 1:
    errors that two models share look like accuracy.

    Args:
        evidence: (teachers, documents, labels), as of `evidence_of`.
        answered: (teachers, documents).
    """
    teachers, _, num_labels = evidence.shape
    named = evidence.argmax(2)
    pairs = [(t, u, both) for t in range(teachers) for u in range(t) if (both := answered[t] & answered[u]).any()]
    if not pairs:
        return 1.0
    observed = np.mean([(named[t] == named[u])[both].mean() for t, u, both in pairs])
    summed = evidence.sum(0)

    def implied(scale: float) -> float:
        belief = _softmax(scale * summed)
        right = np.stack([np.take_along_axis(belief, each[:, None], 1)[:, 0] for each in named])
        accuracies = [(right[t][both].mean(), right[u][both].mean()) for t, u, both in pairs]
        return float(np.mean([a * b + (1 - a) * (1 - b) / (num_labels - 1) for a, b in accuracies]))

    if implied(1.0) <= observed:
        return 1.0
    low, high = FLATTEST, 1.0
    for _ in range(30):  # what is implied rises with the scale
        middle = (low + high) / 2
        low, high = (middle, high) if implied(middle) < observed else (low, middle)
    return high


def fitted_pool(
    evidence: np.ndarray, truth: np.ndarray, weights: np.ndarray, bias: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weight of each teacher, not below 0, and a bias per label, of the least cross entropy plus a ridge.

    Args:
        evidence: (teachers, documents, labels) of labelled documents.
        truth: (documents,) number of the true label.
        weights: (teachers,) what the weights are held near.
        bias: (labels,) the same of the biases.

    Source: Wolpert, "Stacked Generalization", Neural Networks 5 (1992).
    """
    from scipy.optimize import minimize  # votes are mostly counted without known labels, and without SciPy

    teachers = len(evidence)
    centre = np.concatenate([weights, bias])
    right = np.eye(evidence.shape[2])[truth]

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        belief = _softmax(np.tensordot(values[:teachers], evidence, 1) + values[teachers:])
        off = values - centre
        entropy = -np.log(np.maximum(belief[np.arange(len(truth)), truth], 1e-300)).sum()
        beyond = belief - right
        slope = np.concatenate([np.einsum("tdl,dl->t", evidence, beyond), beyond.sum(0)])
        return float(entropy + RIDGE / 2 * off @ off), slope + RIDGE * off

    bounds = [(0.0, None)] * teachers + [(None, None)] * len(bias)
    found = minimize(loss, centre, jac=True, method="L-BFGS-B", bounds=bounds).x
    return found[:teachers], found[teachers:]


def _softmax(scores: np.ndarray) -> np.ndarray:
    shares: np.ndarray = np.exp(scores - scores.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    return shares
