"""Methods that add votes up: majority, and votes weighted by the confidence of each answer."""

import numpy as np

from xpoll.core.errors import InputError
from xpoll.votes.ballots import Ballots, Shares, normalised


def majority(ballots: Ballots) -> Shares:
    """(documents, labels): share of the readable votes that each label has; of several teachers the mean share."""
    one_each = None if ballots.teacher_of is None else ballots.voices(np.ones(len(ballots.label_of)))
    return normalised(ballots.counts(one_each))


def confidence_weighted(ballots: Ballots) -> Shares:
    """Like `majority`, but a vote weighs as much as the probability its engine gave the label it names.

    A vote without logprobs weighs as much as the mean of the others.

    Source: Taubenfeld et al., "Confidence Improves Self-Consistency in LLMs", ACL 2025 (arXiv 2502.06233).

    Raises:
        InputError: no vote has a distribution.
    """
    distributions = with_logprobs(ballots, "confidence_weighted")
    confidence = distributions[np.arange(len(distributions)), ballots.label_of]
    confidence = np.where(np.isnan(confidence), np.nanmean(confidence), confidence)
    return normalised(ballots.counts(ballots.voices(np.maximum(confidence, 1e-9))))


def with_logprobs(ballots: Ballots, method: str) -> np.ndarray:
    """The distributions of the votes.

    Raises:
        InputError: there is none.
    """
    if ballots.distributions is None:
        raise InputError(
            f"vote.method = '{method}' needs the answers' logprobs and none is there",
            mend="use vote.method = 'majority', or set panel.logprobs = true and poll into another job.run_folder",
        )
    return ballots.distributions
