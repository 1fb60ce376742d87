"""Votes weighted by what each persona's agreement with the others says of its accuracy."""

import numpy as np

from xpoll.votes.ballots import Ballots, Shares, at_known
from xpoll.votes.methods.distinct import kinds_of

MAX_ITERATIONS = 500
TOLERANCE = 1e-7  # largest change of a share that ends the fit
FLOOR = 1e-10


def reliability_weighted(ballots: Ballots) -> Shares:
    """Learns one accuracy per persona and weighs its votes by their log-odds; below chance they count against.

    This is Dawid-Skene with one parameter per persona. A persona that answers little learns from little:
    there is no prior but what documents of known label say.

    Source: Zhang et al., "Spectral Methods Meet EM", JMLR 17 (2016), the one-coin model.
    """
    kinds = kinds_of(ballots)
    votes, times = kinds.ballots, kinds.times.astype(float)
    num_labels = len(votes.labels)
    counts = votes.counts()
    voted = (counts.sum(1) > 0) * times
    belief = at_known(counts / np.maximum(counts.sum(1, keepdims=True), 1), votes.known)
    for _ in range(MAX_ITERATIONS):
        label_shares = np.maximum(voted @ belief / max(voted.sum(), 1), FLOOR)
        agreed = times[votes.document_of] * belief[votes.document_of, votes.label_of]
        asked = np.bincount(votes.persona_of, times[votes.document_of])
        right = np.clip(np.bincount(votes.persona_of, agreed) / np.maximum(asked, 1), FLOOR, 1 - FLOOR)
        weight = np.log(right * (num_labels - 1) / (1 - right))
        scores = np.log(label_shares) + votes.counts(weight[votes.persona_of])
        previous, belief = belief, np.exp(scores - scores.max(1, keepdims=True))
        belief = at_known(np.round(belief / belief.sum(1, keepdims=True), 12), votes.known)
        if np.abs(belief - previous).max(initial=0) < TOLERANCE:
            break
    belief[counts.sum(1) == 0] = np.nan
    shares: Shares = belief[kinds.kind_of]
    return shares
