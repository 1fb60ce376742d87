"""Probabilities of labels that were each read by themselves -> shares of a document, with or without the yes-bias."""

from collections.abc import Sequence

import numpy as np

from xpoll.core.records import SetVote

LEAST = 1e-6
"""Probability below which a label's log-odds are not told apart."""


def mean_probabilities(document_ids: Sequence[str], votes: Sequence[SetVote]) -> np.ndarray:
    """(documents, labels): mean of P(yes) over the votes about a document; NaN where there is none.

    Args:
        document_ids: The documents, in the order of the rows.
        votes: Votes with probabilities.
    """
    return _means(document_ids, votes, np.array([vote.probabilities for vote in votes], float))


def calibrated_probabilities(document_ids: Sequence[str], votes: Sequence[SetVote]) -> np.ndarray:
    """(documents, labels): the same without what a persona says of a label whatever the text; NaN without a vote.

    A small model says yes to one label more readily than to another, and to all of them too often. So of each
    persona and label the mean of the log-odds over all texts is moved to where it would be if a text had one label on
    average: log(1 / (labels - 1)). How often a label really fits is not known without gold, and a model that tells
    the texts apart moves its log-odds by more than that.

    Source: after Zhou et al., "Batch Calibration", ICLR 2024 (arXiv 2309.17249), with a prior of one label per text.

    Args:
        document_ids: The documents, in the order of the rows.
        votes: Votes with probabilities.
    """
    yes = np.clip(np.array([vote.probabilities for vote in votes], float), LEAST, 1 - LEAST)
    log_odds = np.log(yes) - np.log1p(-yes)
    personas = np.array([vote.persona_id for vote in votes])
    for persona in np.unique(personas):
        log_odds[personas == persona] -= log_odds[personas == persona].mean(0)
    expected = -np.log(max(log_odds.shape[1] - 1, 1))
    shares: np.ndarray = 1 / (1 + np.exp(-(_means(document_ids, votes, log_odds) + expected)))
    return shares


def _means(document_ids: Sequence[str], votes: Sequence[SetVote], values: np.ndarray) -> np.ndarray:
    row_of = {document_id: number for number, document_id in enumerate(document_ids)}
    kept = np.array([vote.document_id in row_of for vote in votes], bool)
    rows = np.array([row_of[vote.document_id] for vote in votes if vote.document_id in row_of], np.int64)
    summed = np.zeros((len(document_ids), values.shape[1]))
    np.add.at(summed, rows, values[kept])
    counts = np.bincount(rows, minlength=len(document_ids))[:, None]
    means: np.ndarray = np.divide(summed, counts, out=np.full(summed.shape, np.nan), where=counts > 0)
    return means
