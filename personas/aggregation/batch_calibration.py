"""Removes the label bias that all answers of a persona share, from the logprobs of the labels alone."""

import numpy as np

from personas.aggregation.ballots import Ballots, Shares
from personas.aggregation.counting import with_logprobs


def calibrated(ballots: Ballots) -> Shares:
    """Removes the label bias that a persona's answers have over the whole batch, without gold labels.

    From each answer's log-distribution the persona's mean over all documents is subtracted, as if
    every label were equally frequent; the result is averaged over the answers of a document. With
    `task.label_priors` their logarithm is added.

    Source: Zhou et al., "Batch Calibration", ICLR 2024 (arXiv 2309.17249).

    Raises:
        InputError: no vote has a distribution.
    """
    distributions = with_logprobs(ballots, "calibrated")
    read = ~np.isnan(distributions[:, 0])
    logs = np.log(np.maximum(distributions[read], 1e-9))
    persona_of, document_of = ballots.persona_of[read], ballots.document_of[read]
    for persona in np.unique(persona_of):
        logs[persona_of == persona] -= logs[persona_of == persona].mean(0)
    summed = np.zeros((ballots.num_documents, len(ballots.labels)))
    np.add.at(summed, document_of, logs)
    answers = np.bincount(document_of, minlength=ballots.num_documents)[:, None]
    scores = np.divide(summed, answers, out=np.full(summed.shape, np.nan), where=answers > 0)
    if ballots.priors is not None:
        scores += np.log([ballots.priors[label] for label in ballots.labels])
    shares: Shares = np.exp(scores - scores.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    return shares
