"""Votes -> one label per document, with a distribution over the labels, or an abstention.

The kind of task decides what becomes of a distribution: the label with the largest share, or the median.
Ties and documents without a single readable vote abstain: there is no random label, ever.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np

from xpoll.core.config.job import Config
from xpoll.core.config.teachers import asked_each
from xpoll.core.records import NO_READABLE_VOTE, Consensus, Document, Vote
from xpoll.personas.label_order import ShownBy
from xpoll.votes.ballots import Ballots, Shares, ballots_of
from xpoll.votes.methods.counting import majority
from xpoll.votes.methods.recalibration import fitted_recalibration
from xpoll.votes.methods.registry import method_of

ROWS_AT_ONCE = 8192

Decide = Callable[[Shares], np.ndarray]
"""From shares to (documents,): the number of each one's label, -1 for an abstention."""


def winners(shares: Shares) -> np.ndarray:
    """(documents,): number of the label with the largest share; -1 if two share that place or there is none."""
    filled = np.where(np.isnan(shares), 0, shares)
    largest = filled.max(1, keepdims=True)
    # Sums taken in another order differ in their last digits, and that must not decide a tie.
    alone = (filled >= largest - 1e-9).sum(1) == 1
    numbers: np.ndarray = np.where(alone, filled.argmax(1), -1)
    return numbers


def medians(shares: Shares) -> np.ndarray:
    """(documents,): number of the label in the middle of the distribution; -1 if it lies between two or there is none.

    It lies between two where just half of the distribution is below: the next label with a share is as good.
    """
    below = np.cumsum(np.where(np.isnan(shares), 0, shares), 1)
    lower = (below >= 0.5 - 1e-9).argmax(1)
    upper = (below > 0.5 + 1e-9).argmax(1)
    numbers: np.ndarray = np.where((lower == upper) & (below[:, -1] > 0.5), lower, -1)
    return numbers


def consensus_of(
    documents: Iterable[Document],
    votes: Iterable[Vote],
    config: Config,
    *,
    reviewed: Mapping[str, str] | None = None,
    shown: ShownBy | None = None,
    probes: Iterable[Vote] = (),
    decide: Decide = winners,
    count: Callable[[Ballots], Shares] | None = None,
) -> list[Consensus]:
    """One consensus per document, in the documents' order.

    Args:
        documents: What was asked about.
        votes: The answers, read.
        config: Names the labels and the method.
        reviewed: Document id to the label that a person gave; it stands in place of the voted one.
        shown: The orders in which prompts named the labels, if there was more than one.
        probes: Votes about texts without content.
        decide: From shares to the number of each document's label.
        count: What gives the shares, in place of the job's method.

    Raises:
        ConfigError: the method is not known.
        InputError: the method needs what the votes do not have.
    """
    return list(
        consensus_rows(
            documents, votes, config, reviewed=reviewed, shown=shown, probes=probes, decide=decide, count=count
        )
    )


def consensus_rows(
    documents: Iterable[Document],
    votes: Iterable[Vote],
    config: Config,
    *,
    reviewed: Mapping[str, str] | None = None,
    shown: ShownBy | None = None,
    probes: Iterable[Vote] = (),
    decide: Decide = winners,
    count: Callable[[Ballots], Shares] | None = None,
) -> Iterator[Consensus]:
    """As `consensus_of`, row by row: of votes and documents numbers are held, and no text.

    Documents that come from an iterator are held, because they are gone through twice.
    """
    rows, corrected = list(documents) if isinstance(documents, Iterator) else documents, reviewed or {}
    labels = list(config.task.labels)
    ballots = ballots_of(
        [row.document_id for row in rows],
        votes,
        labels,
        priors=config.task.label_priors,
        known=corrected if config.vote.learn_from_review else None,
        correlation=config.vote.correlation,
        shown=shown,
        probes=probes,
    )
    shares = count(ballots) if count else shares_of(ballots, config.vote.method)
    raw = decide(majority(ballots))
    counts, saved = ballots.counts(), asked_each(config) - ballots.answers
    left = iter(rows)
    for begin in range(0, ballots.num_documents, ROWS_AT_ONCE):
        part = slice(begin, begin + ROWS_AT_ONCE)
        columns = _columns(shares[part], counts[part], saved[part], raw[part], labels, decide)
        for row, voted in zip(islice(left, ROWS_AT_ONCE), columns, strict=True):
            consensus = voted._replace(
                document_id=row.document_id, split=row.split, text=row.text, gold_label=row.gold_label
            )
            yield _corrected(consensus, corrected.get(row.document_id), labels)


def _columns(
    shares: Shares, counts: np.ndarray, saved: np.ndarray, raw: np.ndarray, labels: Sequence[str], decide: Decide
) -> Iterator[Consensus]:
    """What votes say of some documents, without the documents."""
    counted, most = counts.sum(1), counts.max(1)
    readable = ~np.isnan(shares[:, 0])
    distributions = np.where(readable[:, None], shares, 1 / len(labels))
    decided = decide(shares)
    of_label = np.take_along_axis(distributions, np.maximum(decided, 0)[:, None], 1)[:, 0]
    columns = (
        _named(decided, labels),
        map(tuple, distributions.tolist()),
        np.where(decided >= 0, of_label, distributions.max(1)).tolist(),
        counted.tolist(),
        saved.tolist(),
        np.divide(most, counted, out=np.zeros(len(counts)), where=counted > 0).tolist(),
        readable.tolist(),
        _named(raw, labels),
    )
    for label, shared, confidence, votes_counted, votes_saved, agreement, read, raw_label in zip(*columns, strict=True):
        yield Consensus(
            "",
            "train",
            "",
            label,
            distribution=shared,
            confidence=confidence,
            votes_counted=votes_counted,
            votes_saved=votes_saved,
            agreement=agreement,
            abstained=None if label is not None else "tie" if read else NO_READABLE_VOTE,
            raw_label=raw_label,
        )


def shares_of(ballots: Ballots, method: str) -> Shares:
    """(documents, labels): the shares that a method gives; with known labels, its confidence is set right by them.

    What a method says of a document whose label it was told shows nothing of its confidence: the known
    documents are halved, and each half is judged by a fit that was told the other half.

    Raises:
        ConfigError: there is no method of that name.
    """
    vote_method = method_of(method)
    shares = vote_method.function(ballots)
    if ballots.known is None or vote_method.scales_by_known:
        return shares
    judged = shares.copy()
    if vote_method.learns_from_known:
        place = np.cumsum(ballots.known >= 0)
        for half in (0, 1):
            held_out = (ballots.known >= 0) & (place % 2 == half)
            told = replace(ballots, known=np.where(held_out, -1, ballots.known))
            judged[held_out] = vote_method.function(told)[held_out]
    return fitted_recalibration(judged, ballots.known).applied(shares)


def _corrected(row: Consensus, label: str | None, labels: Sequence[str]) -> Consensus:
    if label is None:
        return row
    certain = tuple(float(label == name) for name in labels)
    return row._replace(label=label, distribution=certain, confidence=1.0, abstained=None, voted_label=row.label)


def _named(numbers: np.ndarray, labels: Sequence[str]) -> list[str | None]:
    return [labels[number] if number >= 0 else None for number in numbers.tolist()]
