"""Documents with the same votes have the same posterior: each kind of document is computed once.

A million votes of three personas fall into a few hundred kinds.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from xpoll.votes.ballots import Ballots


class Kinds(NamedTuple):
    """One document of each kind, with its votes. Documents without votes are a kind too."""

    ballots: Ballots  # of the kinds, numbered from 0
    times: np.ndarray  # (kinds,) how many documents are of it
    kind_of: np.ndarray  # (documents,)


def kinds_of(ballots: Ballots) -> Kinds:
    """Groups the documents by their votes, in any order, and by what is known of them."""
    known = np.full(ballots.num_documents, -1) if ballots.known is None else ballots.known
    marks = _marks(len(ballots.persona_ids) * len(ballots.labels) + len(ballots.labels) + 1)
    sums = marks[-1 - len(ballots.labels) :][known + 1].copy()  # the last marks stand for what is known
    with np.errstate(over="ignore"):  # sums wrap around, as hashes may
        np.add.at(sums, ballots.document_of, marks[ballots.persona_of * len(ballots.labels) + ballots.label_of])
    _, first, kind_of, times = np.unique(sums, return_index=True, return_inverse=True, return_counts=True)
    number = np.full(ballots.num_documents, -1)
    number[first] = np.arange(len(first))
    votes = np.flatnonzero(number[ballots.document_of] >= 0)
    order = votes[np.lexsort((ballots.label_of[votes], ballots.persona_of[votes], number[ballots.document_of[votes]]))]
    kept = ballots.only(order)
    of_kinds = replace(
        kept,
        num_documents=len(first),
        document_of=number[kept.document_of],
        distributions=None,
        known=None if ballots.known is None else known[first],
    )
    return Kinds(of_kinds, times, kind_of)


def _marks(count: int) -> np.ndarray:
    """Random 64-bit numbers, the same in every run; two different sums of them are equal once in 10^19."""
    return np.random.default_rng(20130913).integers(0, 2**64, count, dtype=np.uint64)
