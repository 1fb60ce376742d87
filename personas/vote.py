"""Votes -> one label a document, with a distribution over the labels, or an abstention.

Ties and documents without a single readable vote abstain: there is no random label, ever.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from core.config import Config
from core.records import Consensus, Document, Vote
from personas.aggregation.ballots import Ballots, Shares, ballots_of
from personas.aggregation.batch_calibration import calibrated
from personas.aggregation.counting import majority

METHODS: dict[str, Callable[[Ballots], Shares]] = {"majority": majority, "calibrated": calibrated}
"""To add a method: one function in personas/aggregation, one line in this table, one word in core.config.Vote."""


def consensus_of(documents: Iterable[Document], votes: Iterable[Vote], config: Config) -> list[Consensus]:
    """One consensus a document, in the documents' order."""
    rows, cast = list(documents), list(votes)
    labels = list(config.task.labels)
    ballots = ballots_of([row.document_id for row in rows], cast, labels, priors=config.task.label_priors)
    shares = METHODS[config.vote.method](ballots)
    counts = ballots.counts()
    decided, raw = winners(shares), winners(majority(ballots))
    asked = len(config.panel.personas) * config.panel.samples
    answers = Counter(vote.document_id for vote in cast)
    readable = ~np.isnan(shares[:, 0])
    distributions = np.where(readable[:, None], shares, 1 / len(labels))
    return [
        Consensus(
            row.document_id,
            row.split,
            row.text,
            label=_named(decided[i], labels),
            distribution=tuple(distributions[i].tolist()),
            confidence=float(distributions[i].max()),
            votes_counted=int(counts[i].sum()),
            votes_saved=asked - answers[row.document_id],
            agreement=float(counts[i].max() / counts[i].sum()) if counts[i].any() else 0.0,
            abstained=None if decided[i] >= 0 else "tie" if readable[i] else "no readable vote",
            raw_label=_named(raw[i], labels),
            gold_label=row.gold_label,
        )
        for i, row in enumerate(rows)
    ]


def winners(shares: Shares) -> np.ndarray:
    """(documents,): number of the label with the largest share; -1 if two share that place or there is none."""
    filled = np.where(np.isnan(shares), 0, shares)
    largest = filled.max(1, keepdims=True)
    # Sums taken in another order differ in their last digits, and that must not decide a tie.
    alone = (filled >= largest - 1e-9).sum(1) == 1
    numbers: np.ndarray = np.where(alone, filled.argmax(1), -1)
    return numbers


def _named(number: int, labels: Sequence[str]) -> str | None:
    return labels[number] if number >= 0 else None
