"""Dawid-Skene for answers that are not independent of each other and of which some were not asked.

The model of a document: its true label is drawn from the label shares. Then, with probability
`correlation`, the panel has one opinion and every answer repeats it; else each answer stands for
itself. An opinion and an answer are drawn from the persona's confusion matrix, in the row of the true label.

Where a job has several teachers, each has such an opinion of its own: the answers of one model depend on each other,
and those of different ones only on the true label.

So that answers agree says less than their number does: no number of equal answers makes a label surer
than one opinion is. And because the likelihood is that of the answers in the order they came, the stop
rule, which looks at nothing else, drops out of it: two of two is worth two answers, not certainty.

How far answers of one model err together cannot be learnt from the answers: a text that all get wrong
looks like a text that all get right. Until people have labelled enough documents to measure it,
`correlation` is an assumption. A wrong one must not cost labels, so it then changes only how sure they
are, and the confusion matrices are learnt as if every answer stood for itself.

A matrix has a row for each label. Where a label is rare, the errors about frequent ones outnumber its
texts, and a row learnt from them takes those errors for its own. So the same model is also fitted with
one accuracy per persona, and the Bayesian information criterion says whether the matrices are worth their
parameters.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from xpoll.votes.ballots import Ballots, Shares, at_known
from xpoll.votes.methods.distinct import Kinds, kinds_of

MAX_ITERATIONS = 500
TOLERANCE = 1e-7  # largest change of a share that ends the fit
OFF_DIAGONAL, DIAGONAL = 0.5, 1.5  # answers assumed of a panel before any: right more often than each wrong label
POOLED = 10.0  # answers' worth by which a persona is held to the panel's mean
ENOUGH_KNOWN = 30  # labelled documents with two answers or more, from which the correlation is measured
PRIOR_OPINIONS = 10.0  # documents' worth by which it is held to the assumed one


class PosteriorFit(NamedTuple):
    """A fitted model. `confusion` is (personas, true label, label named); `right` one accuracy per persona."""

    shares: Shares
    label_shares: np.ndarray
    confusion: np.ndarray
    correlation: float

    @property
    def right(self) -> np.ndarray:
        """(personas,): how often each names the true label."""
        accuracy: np.ndarray = np.einsum("z,pzz->p", self.label_shares, self.confusion)
        return accuracy


def posterior(ballots: Ballots) -> Shares:
    """(documents, labels): probability of each label given the votes, under the better of the two models above."""
    return fit(ballots).shares


def fit(ballots: Ballots) -> PosteriorFit:
    """The better of two models: a confusion matrix per persona, or one accuracy per persona."""
    kinds = kinds_of(ballots)
    num_personas, num_labels = len(ballots.persona_ids), len(ballots.labels)
    answered = np.log(max(len(np.unique(ballots.document_of)), 1))
    matrices, log_matrices = _fitted(kinds, _confusion)
    accuracies, log_accuracies = _fitted(kinds, _one_accuracy)
    more_parameters = num_personas * (num_labels * (num_labels - 1) - 1)
    return matrices if 2 * (log_matrices - log_accuracies) >= more_parameters * answered else accuracies


def _fitted(kinds: Kinds, estimate: Callable[[Ballots, np.ndarray], np.ndarray]) -> tuple[PosteriorFit, float]:
    """Expectation-maximisation from the shares of the votes; documents of known label stay at it.

    Returns:
        The fit, and the logarithm of its likelihood with answers taken as the fit took them.
    """
    votes, times = kinds.ballots, kinds.times.astype(float)
    counts = votes.counts()
    total = counts.sum(1)
    voted = times * (total > 0)
    by_teacher = _by_teacher(votes)
    answered = by_teacher.counts().sum(1).reshape(len(times), -1)  # (documents, teachers)
    known = np.zeros(len(times), bool) if votes.known is None else votes.known >= 0
    measured = (times * known)[:, None] * (answered > 1)
    can_measure = measured.sum() >= ENOUGH_KNOWN
    correlation = votes.correlation if can_measure else 0.0
    belief = at_known((counts + 0.1) / (counts + 0.1).sum(1, keepdims=True), votes.known)
    evidence = belief[votes.document_of]  # (votes, true label): how far a vote tells of its persona
    for _ in range(MAX_ITERATIONS):
        label_shares = (voted @ belief + 1) / (voted @ belief + 1).sum()
        confusion = estimate(votes, evidence * times[votes.document_of, None])
        likelihood = _likelihood(votes, confusion, correlation)
        scores = likelihood.log + np.log(label_shares)
        previous, belief = belief, _belief(scores, votes.known)
        # A repeated opinion is drawn once; the votes that repeat it share the draw.
        repeated = likelihood.one_opinion[by_teacher.document_of]
        evidence = belief[votes.document_of] * (1 - repeated + repeated * likelihood.part_of_draw)
        if can_measure:
            one_opinion = likelihood.one_opinion.reshape(*measured.shape, -1)
            opinions = (measured * (belief[:, None, :] * one_opinion).sum(2)).sum()
            correlation = (opinions + PRIOR_OPINIONS * votes.correlation) / (measured.sum() + PRIOR_OPINIONS)
        if np.abs(belief - previous).max(initial=0) < TOLERANCE:
            break
    log_likelihood = float(voted @ _log_likelihood(scores, votes.known))
    if not can_measure:
        correlation = votes.correlation
        belief = _belief(_likelihood(votes, confusion, correlation).log + np.log(label_shares), votes.known)
    belief[total == 0] = np.nan
    return PosteriorFit(belief[kinds.kind_of], label_shares, confusion, float(correlation)), log_likelihood


class _Likelihood(NamedTuple):
    """Of the votes of each document, given each true label."""

    log: np.ndarray  # (documents, true label)
    one_opinion: np.ndarray  # (documents x teachers, true label): probability that the answers repeat one opinion
    part_of_draw: (
        np.ndarray
    )  # (votes, true label): how far the opinion is this vote's, 1 over a teacher's of a document


def _by_teacher(votes: Ballots) -> Ballots:
    """The votes with each teacher's about a document as a document of their own, in this order."""
    if votes.teacher_of is None:
        return votes
    number = votes.document_of * votes.num_teachers + votes.teacher_of[votes.persona_of]
    return replace(votes, document_of=number, num_documents=votes.num_documents * votes.num_teachers, known=None)


def _likelihood(votes: Ballots, confusion: np.ndarray, correlation: float) -> _Likelihood:
    by_teacher = _by_teacher(votes)
    counts = by_teacher.counts()
    total = counts.sum(1)
    said = confusion[votes.persona_of, :, votes.label_of]  # (votes, true label)
    alone = _summed(np.log(said), by_teacher)
    summed = _summed(said, by_teacher)
    with np.errstate(divide="ignore"):
        unanimous = np.log((counts.max(1) == total) & (total > 0))[:, None]
        repeated = np.log(correlation) + unanimous + np.log(summed / np.maximum(total, 1)[:, None])
        log = np.logaddexp(np.log(1 - correlation) + alone, repeated)
    of_documents = log.reshape(votes.num_documents, votes.num_teachers, -1).sum(1)
    return _Likelihood(of_documents, np.exp(repeated - log), said / summed[by_teacher.document_of])


def _confusion(votes: Ballots, weights: np.ndarray) -> np.ndarray:
    """(personas, true label, label named), each row summing to 1."""
    size, num_personas = len(votes.labels), len(votes.persona_ids)
    cell = votes.persona_of * size + votes.label_of
    sums = [np.bincount(cell, column, minlength=num_personas * size) for column in weights.T]
    counts = np.array(sums).reshape(size, num_personas, size).swapaxes(0, 1)
    pooled = counts.sum(0) + OFF_DIAGONAL + (DIAGONAL - OFF_DIAGONAL) * np.eye(size)
    counts = counts + POOLED * pooled / pooled.sum(1, keepdims=True)
    confusion: np.ndarray = counts / counts.sum(2, keepdims=True)
    return confusion


def _one_accuracy(votes: Ballots, weights: np.ndarray) -> np.ndarray:
    """(personas, true label, label named): one share of right answers per persona, wrong ones equally likely."""
    size, num_personas = len(votes.labels), len(votes.persona_ids)
    rows = np.arange(len(votes.label_of))
    right = np.bincount(votes.persona_of, weights[rows, votes.label_of], minlength=num_personas)
    asked = np.bincount(votes.persona_of, weights.sum(1), minlength=num_personas)
    prior_right, prior_asked = DIAGONAL, DIAGONAL + (size - 1) * OFF_DIAGONAL
    pooled = (right.sum() + prior_right) / (asked.sum() + prior_asked)
    accuracy = (right + POOLED * pooled) / (asked + POOLED)
    wrong = (1 - accuracy) / (size - 1)
    confusion: np.ndarray = wrong[:, None, None] + (accuracy - wrong)[:, None, None] * np.eye(size)
    return confusion


def _log_likelihood(scores: np.ndarray, known: np.ndarray | None) -> np.ndarray:
    """(documents,): of each document's votes, and of its label where that is known."""
    any_label: np.ndarray = np.logaddexp.reduce(scores, axis=1)
    if known is None:
        return any_label
    of_known: np.ndarray = np.where(known >= 0, scores[np.arange(len(known)), np.maximum(known, 0)], any_label)
    return of_known


def _summed(values: np.ndarray, votes: Ballots) -> np.ndarray:
    """(documents, true label): the sum over each document's votes."""
    sums = [np.bincount(votes.document_of, column, minlength=votes.num_documents) for column in values.T]
    return np.stack(sums, 1)


def _belief(scores: np.ndarray, known: np.ndarray | None) -> np.ndarray:
    belief = np.exp(scores - scores.max(1, keepdims=True))
    # Rounded, so that what is equal stays equal: a difference in the 16th digit can grow with every step.
    return at_known(np.round(belief / belief.sum(1, keepdims=True), 12), known)
