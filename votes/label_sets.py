"""Votes of a multi task -> one set of labels per document: each label is a question of its own, yes or no.

A label that half of the weight is for and half against is left out of the set and named as undecided. Where each label
was read by itself, a vote is as much for a label as the model held it likely to fit.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from xpoll.core.config.job import Config
from xpoll.core.config.task import SEPARATOR
from xpoll.core.errors import InputError
from xpoll.core.records import NO_READABLE_VOTE, Document, SetConsensus, SetVote, Vote
from xpoll.votes.ballots import ballots_of
from xpoll.votes.consensus import winners
from xpoll.votes.methods.registry import method_of

NO_YES = ["no", "yes"]


def shares_of_sets(
    document_ids: Sequence[str], votes: Sequence[SetVote], labels: Sequence[str], method: str, *, correlation: float
) -> np.ndarray:
    """(documents, labels): the share that says that a label fits; NaN where no vote can be read.

    `majority` is the mean of the probabilities where all votes have them, and counts labels elsewhere.

    Args:
        document_ids: The documents, in the order of the rows.
        votes: All votes, readable or not.
        labels: The task's labels in their order.
        method: Name of a method that reads labels alone, or that counts probabilities where votes have them.
        correlation: As of `ballots_of`.

    Raises:
        ConfigError: there is no method of that name.
        InputError: the method reads probabilities, and votes have none.
    """
    readable = [vote for vote in votes if vote.labels is not None]
    without = sum(vote.probabilities is None for vote in readable)
    vote_method = method_of(method)
    if not readable:
        return np.full((len(document_ids), len(labels)), np.nan)
    if vote_method.of_sets is not None and not without:
        return vote_method.of_sets(document_ids, readable)
    if vote_method.needs_logprobs:
        raise InputError(
            f"vote.method = {method!r} reads a probability for each label, and {without} of {len(readable)} votes have "
            "none",
            mend="--set vote.method=majority; see docs/explanation/reads.md for engines that can be read",
        )
    columns = []
    for label in labels:
        binary = (
            Vote(vote.document_id, vote.persona_id, vote.sample, NO_YES[label in vote.labels])
            for vote in readable
            if vote.labels is not None
        )
        ballots = ballots_of(document_ids, binary, NO_YES, correlation=correlation)
        columns.append(vote_method(ballots)[:, 1])
    return np.stack(columns, 1)


def decided_sets(shares: np.ndarray) -> np.ndarray:
    """(documents, labels): 1 for labels that fit, 0 for those that do not, -1 for those without a decision."""
    of_label = np.stack([1 - shares, shares], 2)
    flat: np.ndarray = winners(of_label.reshape(-1, 2)).reshape(shares.shape)
    return flat


def set_consensus_of(
    documents: Iterable[Document], votes: Iterable[SetVote], config: Config, **_unused: Any
) -> list[SetConsensus]:
    """One consensus per document, in the documents' order; what people said and label orders play no part."""
    rows, cast, labels = list(documents), list(votes), list(config.task.labels)
    ids = [row.document_id for row in rows]
    shares = shares_of_sets(ids, cast, labels, config.vote.method, correlation=config.vote.correlation)
    decided = decided_sets(shares)
    counted = dict.fromkeys(ids, 0)
    for vote in cast:
        if vote.labels is not None and vote.document_id in counted:
            counted[vote.document_id] += 1
    consensus = []
    for row, of_row, sides in zip(rows, shares.tolist(), decided.tolist(), strict=True):
        read = counted[row.document_id] > 0
        consensus.append(
            SetConsensus(
                row.document_id,
                row.split,
                row.text,
                labels=_where(1, sides, labels) if read else None,
                shares=tuple(of_row) if read else (0.5,) * len(labels),
                undecided=_where(-1, sides, labels) if read else (),
                votes_counted=counted[row.document_id],
                abstained=None if read else NO_READABLE_VOTE,
                gold_labels=None if row.gold_label is None else tuple(filter(None, row.gold_label.split(SEPARATOR))),
            )
        )
    return consensus


def _where(side: int, sides: Sequence[int], labels: Sequence[str]) -> tuple[str, ...]:
    return tuple(label for label, each in zip(labels, sides, strict=True) if each == side)
