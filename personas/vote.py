"""Votes -> one label a document, with a distribution over the labels, or an abstention.

Ties and documents without a single readable vote abstain: there is no random label, ever.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from core.config import Config
from core.errors import InputError
from core.records import Consensus, Document, Vote

Distributions = dict[str, np.ndarray]
"""Document id to its distribution over the labels (float64, sums to 1)."""


class Ballots(NamedTuple):
    """All votes of a run, by document, and the labels in their order."""

    by_document: Mapping[str, Sequence[Vote]]
    labels: list[str]
    asked: int  # how many times each document was to be asked
    priors: Mapping[str, float] | None = None


def consensus_of(documents: Iterable[Document], votes: Iterable[Vote], config: Config) -> list[Consensus]:
    """One consensus a document, in the documents' order."""
    by_document: dict[str, list[Vote]] = {}
    for vote in votes:
        by_document.setdefault(vote.document_id, []).append(vote)
    asked = config.panel.asked_each
    ballots = Ballots(by_document, list(config.task.labels), asked, config.task.label_priors)
    distributions = METHODS[config.vote.method](ballots)
    return [_consensus(document, ballots, distributions.get(document.document_id)) for document in documents]


def _consensus(document: Document, ballots: Ballots, distribution: np.ndarray | None) -> Consensus:
    cast = ballots.by_document.get(document.document_id, [])
    counts = Counter(vote.label for vote in cast if vote.label is not None)
    counted = counts.total()
    labels = ballots.labels
    label: str | None = None
    abstained: str | None = "no readable vote"
    if distribution is None:
        distribution = np.full(len(labels), 1 / len(labels))
    else:
        label = winner(distribution, labels)
        abstained = None if label else "tie"
    return Consensus(
        document.document_id,
        document.split,
        document.text,
        label,
        tuple(distribution.tolist()),
        confidence=float(distribution.max()),
        votes_counted=counted,
        votes_saved=ballots.asked - len(cast),
        agreement=max(counts.values()) / counted if counted else 0.0,
        abstained=abstained,
        raw_label=winner(_shares(counts, labels), labels) if counted else None,
        gold_label=document.gold_label,
    )


def winner(distribution: np.ndarray, labels: Sequence[str]) -> str | None:
    """The label with the largest share; None if two share that place."""
    best = np.flatnonzero(np.isclose(distribution, distribution.max(), rtol=0, atol=1e-12))
    return labels[best[0]] if len(best) == 1 else None


def _shares(counts: Mapping[str, int], labels: Sequence[str]) -> np.ndarray:
    values = np.array([counts.get(label, 0) for label in labels], float)
    shares: np.ndarray = values / values.sum()
    return shares


def majority(ballots: Ballots) -> Distributions:
    """Share of the readable votes that each label has."""
    distributions = {}
    for document_id, cast in ballots.by_document.items():
        counts = Counter(vote.label for vote in cast if vote.label is not None)
        if counts:
            distributions[document_id] = _shares(counts, ballots.labels)
    return distributions


def calibrated(ballots: Ballots) -> Distributions:
    """Removes the label bias that a persona's answers have over the whole batch, without gold labels.

    From each answer's log-distribution the persona's mean over all documents is subtracted, as if
    every label were equally frequent; the result is averaged over the answers of a document. With
    `task.label_priors` their logarithm is added.

    Source: Zhou et al., "Batch Calibration", ICLR 2024 (arXiv 2309.17249).

    Raises:
        InputError: no vote has a distribution.
    """
    read = [vote for cast in ballots.by_document.values() for vote in cast if vote.distribution is not None]
    if not read:
        raise InputError(
            "vote.method = 'calibrated' needs the answers' logprobs and none is there",
            mend="use vote.method = 'majority', or poll again with it set from the start",
        )
    logs = np.log(np.maximum(np.array([vote.distribution for vote in read]), 1e-9))
    personas, persona_of = np.unique([vote.persona_id for vote in read], return_inverse=True)
    for persona in range(len(personas)):
        logs[persona_of == persona] -= logs[persona_of == persona].mean(0)
    document_ids, document_of = np.unique([vote.document_id for vote in read], return_inverse=True)
    summed = np.zeros((len(document_ids), len(ballots.labels)))
    np.add.at(summed, document_of, logs)
    scores = summed / np.bincount(document_of)[:, None]
    if ballots.priors is not None:
        scores += np.log([ballots.priors[label] for label in ballots.labels])
    shares = np.exp(scores - scores.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    return dict(zip(document_ids.tolist(), shares, strict=True))


METHODS: dict[str, Callable[[Ballots], Distributions]] = {"majority": majority, "calibrated": calibrated}
"""To add a method: one function here, one line in this table, one word in core.config.Vote."""
