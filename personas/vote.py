"""Votes -> one label a document, with a distribution over the labels, or an abstention.

Ties and documents without a single readable vote abstain: there is no random label, ever.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from core.config import Config
from core.records import Consensus, Document, Vote
from personas.aggregation.ballots import Ballots, Shares, ballots_of, normalised
from personas.aggregation.batch_calibration import calibrated
from personas.aggregation.counting import confidence_weighted, majority
from personas.aggregation.crowd import dawid_skene, glad, mace
from personas.aggregation.posterior import posterior
from personas.aggregation.recalibration import fitted_recalibration
from personas.aggregation.reliability import reliability_weighted

METHODS: dict[str, Callable[[Ballots], Shares]] = {
    "majority": majority,
    "confidence_weighted": confidence_weighted,
    "calibrated": calibrated,
    "reliability_weighted": reliability_weighted,
    "posterior": posterior,
    "dawid_skene": dawid_skene,
    "mace": mace,
    "glad": glad,
}
"""To add a method: one function in personas/aggregation, one line in this table, one word in core.config.VoteMethod."""

LEARN_FROM_KNOWN = frozenset({"reliability_weighted", "posterior"})
"""The methods that use the labels of documents that a person has labelled."""


def consensus_of(
    documents: Iterable[Document],
    votes: Iterable[Vote],
    config: Config,
    *,
    reviewed: Mapping[str, str] | None = None,
) -> list[Consensus]:
    """One consensus a document, in the documents' order.

    Args:
        documents: What was asked about.
        votes: The answers, read.
        config: Names the labels and the method.
        reviewed: Document id to the label that a person gave; it stands in place of the voted one.
    """
    rows, cast, corrected = list(documents), list(votes), reviewed or {}
    labels = list(config.task.labels)
    ballots = ballots_of(
        [row.document_id for row in rows],
        cast,
        labels,
        priors=config.task.label_priors,
        known=corrected if config.vote.learn_from_review else None,
        correlation=config.vote.correlation,
    )
    shares = shares_of(ballots, config.vote.method)
    counts = ballots.counts()
    counted, most = counts.sum(1), counts.max(1)
    readable = ~np.isnan(shares[:, 0])
    distributions = np.where(readable[:, None], shares, 1 / len(labels))
    asked = config.panel.asked_each
    answers = Counter(vote.document_id for vote in cast)
    columns = (
        _named(winners(shares), labels),
        map(tuple, distributions.tolist()),
        distributions.max(1).tolist(),
        counted.tolist(),
        [asked - answers[row.document_id] for row in rows],
        np.divide(most, counted, out=np.zeros(len(rows)), where=counted > 0).tolist(),
        readable.tolist(),
        _named(winners(normalised(counts)), labels),
    )
    consensus = []
    for row, (label, shared, confidence, votes_counted, saved, agreement, read, raw) in zip(
        rows, zip(*columns, strict=True), strict=True
    ):
        voted = Consensus(
            row.document_id,
            row.split,
            row.text,
            label,
            distribution=shared,
            confidence=confidence,
            votes_counted=votes_counted,
            votes_saved=saved,
            agreement=agreement,
            abstained=None if label is not None else "tie" if read else "no readable vote",
            raw_label=raw,
            gold_label=row.gold_label,
        )
        consensus.append(_corrected(voted, corrected.get(row.document_id), labels))
    return consensus


def shares_of(ballots: Ballots, method: str) -> Shares:
    """The shares that a method gives; with known labels, its confidence is set right by them.

    What a method says of a document whose label it was told shows nothing of its confidence: the known
    documents are halved, and each half is judged by a fit that was told the other half.
    """
    shares = METHODS[method](ballots)
    if ballots.known is None:
        return shares
    judged = shares.copy()
    if method in LEARN_FROM_KNOWN:
        place = np.cumsum(ballots.known >= 0)
        for half in (0, 1):
            held_out = (ballots.known >= 0) & (place % 2 == half)
            told = replace(ballots, known=np.where(held_out, -1, ballots.known))
            judged[held_out] = METHODS[method](told)[held_out]
    return fitted_recalibration(judged, ballots.known).applied(shares)


def _corrected(row: Consensus, label: str | None, labels: Sequence[str]) -> Consensus:
    if label is None:
        return row
    certain = tuple(float(label == name) for name in labels)
    return row._replace(label=label, distribution=certain, confidence=1.0, abstained=None, voted_label=row.label)


def winners(shares: Shares) -> np.ndarray:
    """(documents,): number of the label with the largest share; -1 if two share that place or there is none."""
    filled = np.where(np.isnan(shares), 0, shares)
    largest = filled.max(1, keepdims=True)
    # Sums taken in another order differ in their last digits, and that must not decide a tie.
    alone = (filled >= largest - 1e-9).sum(1) == 1
    numbers: np.ndarray = np.where(alone, filled.argmax(1), -1)
    return numbers


def _named(numbers: np.ndarray, labels: Sequence[str]) -> list[str | None]:
    return [labels[number] if number >= 0 else None for number in numbers.tolist()]
