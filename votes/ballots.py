"""All votes of a run as columns of numbers, which every method counts in its own way.

A vote method takes `Ballots` and returns `Shares`; it never sees a text.
"""

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from xpoll.core.records import Vote
from xpoll.personas.label_order import ShownBy, rotation_of

Shares = np.ndarray
"""(documents, labels), float64: each row sums to 1, or is NaN where no vote can be read."""


class Probes(NamedTuple):
    """Votes about texts without content, one row per vote; `distributions` is (votes, labels)."""

    persona_of: np.ndarray
    rotation_of: np.ndarray
    distributions: np.ndarray


@dataclass(frozen=True, slots=True)
class Ballots:
    """The readable votes, one row per vote, in any order.

    `distributions` has a row per vote, NaN where the engine gave no logprobs, and is None if it gave none
    at all. `known` holds the true label's number for documents that a person has labelled, else -1.
    `rotation_of` tells apart the orders in which prompts named the labels, where there was more than one.
    `persona_ids` are personas of teachers, where the job has several: what a method learns of a persona, it learns of
    that persona of that model.
    """

    labels: list[str]
    persona_ids: list[str]
    num_documents: int
    document_of: np.ndarray  # (votes,) int64, as are the next two
    persona_of: np.ndarray
    label_of: np.ndarray
    distributions: np.ndarray | None = None  # (votes, labels)
    priors: Mapping[str, float] | None = None
    known: np.ndarray | None = None  # (documents,) int64
    correlation: float = 0.5
    sample_of: np.ndarray | None = None  # (votes,) int64, as is the next
    rotation_of: np.ndarray | None = None
    probes: Probes | None = None
    teacher_ids: tuple[str, ...] = ()
    teacher_of: np.ndarray | None = None  # (personas,) int64; None where there is one teacher
    answers_of: np.ndarray | None = None  # (documents,) int64: votes and answers without one

    @property
    def answers(self) -> np.ndarray:
        """(documents,): how many answers there are about each, with a label or without."""
        if self.answers_of is None:
            return np.bincount(self.document_of, minlength=self.num_documents)
        return self.answers_of

    @property
    def num_teachers(self) -> int:
        """How many models the votes are of."""
        return max(len(self.teacher_ids), 1)

    def voices(self, weights: np.ndarray) -> np.ndarray:
        """(votes,): the weights, scaled so that those of a teacher's votes about a document sum to 1.

        A model that is asked more often is no more than one model. Where there is one teacher they stay as they are.
        """
        if self.teacher_of is None:
            return weights
        cell = self.document_of * self.num_teachers + self.teacher_of[self.persona_of]
        scaled: np.ndarray = weights / np.bincount(cell, weights)[cell]
        return scaled

    def of_teacher(self, number: int) -> "Ballots":
        """The votes of one teacher."""
        assert self.teacher_of is not None
        return self.only(self.teacher_of[self.persona_of] == number)

    def counts(self, weights: np.ndarray | None = None) -> np.ndarray:
        """(documents, labels): how many votes name each label, or the sum of their weights."""
        cell = self.document_of * len(self.labels) + self.label_of
        size = self.num_documents * len(self.labels)
        return np.bincount(cell, weights, minlength=size).reshape(self.num_documents, len(self.labels))

    def only(self, votes: np.ndarray) -> "Ballots":
        """The same documents with some of the votes: a mask or numbers of rows."""
        return replace(
            self,
            document_of=self.document_of[votes],
            persona_of=self.persona_of[votes],
            label_of=self.label_of[votes],
            distributions=None if self.distributions is None else self.distributions[votes],
            sample_of=None if self.sample_of is None else self.sample_of[votes],
            rotation_of=None if self.rotation_of is None else self.rotation_of[votes],
        )


def ballots_of(
    document_ids: Sequence[str],
    votes: Iterable[Vote],
    labels: Sequence[str],
    *,
    priors: Mapping[str, float] | None = None,
    known: Mapping[str, str] | None = None,
    correlation: float = 0.5,
    shown: ShownBy | None = None,
    probes: Iterable[Vote] = (),
) -> Ballots:
    """The readable votes about these documents, as columns; votes about other documents are left out.

    Args:
        document_ids: The documents, in the order that `Shares` will have.
        votes: All votes, readable or not.
        labels: The task's labels in their order.
        priors: Expected share of each label, if known.
        known: Document id to a label that a person gave.
        correlation: How often the answers about one text are one opinion repeated, 0 to 1.
        shown: The orders in which prompts named the labels, if there was more than one.
        probes: Votes about texts without content.
    """
    row_of = {document_id: i for i, document_id in enumerate(document_ids)}
    code = {label: i for i, label in enumerate(labels)}
    answers = np.zeros(len(document_ids), np.int64)
    voters: dict[str, str | None] = {}
    first_seen: dict[str, int] = {}
    document_of, voter_of, label_of, sample_of, rotations = (array("q") for _ in range(5))
    distributions = _Distributions(len(labels))
    for vote in votes:
        row = row_of.get(vote.document_id)
        if row is None:
            continue
        answers[row] += 1
        if vote.label is None:
            continue
        voter = vote.voter
        voters[voter] = vote.teacher
        document_of.append(row)
        voter_of.append(first_seen.setdefault(voter, len(first_seen)))
        label_of.append(code[vote.label])
        sample_of.append(vote.sample)
        distributions.append(vote.distribution)
        if shown:
            rotations.append(rotation_of(vote, shown))
    persona_ids = sorted(voters)
    teacher_ids = tuple(sorted({teacher for teacher in voters.values() if teacher is not None}))
    number = {persona_id: i for i, persona_id in enumerate(persona_ids)}
    truth = np.full(len(document_ids), -1)
    for document_id, label in (known or {}).items():
        truth[row_of[document_id]] = code[label]
    return Ballots(
        list(labels),
        persona_ids,
        len(document_ids),
        _numbers(document_of),
        np.array([number[voter] for voter in first_seen], np.int64)[_numbers(voter_of)],
        _numbers(label_of),
        distributions.table(),
        priors,
        truth if known else None,
        correlation,
        _numbers(sample_of),
        _numbers(rotations) if shown else None,
        _probes(probes, number, shown or {}),
        teacher_ids,
        np.array([teacher_ids.index(str(voters[name])) for name in persona_ids], np.int64) if teacher_ids else None,
        answers,
    )


class _Distributions:
    """The distributions of votes one by one; no memory while there are none."""

    def __init__(self, num_labels: int) -> None:
        self._missing = (math.nan,) * num_labels
        self._flat = array("d")
        self._before = 0

    def append(self, distribution: Sequence[float] | None) -> None:
        if distribution is not None and not self._flat:
            self._flat.extend(self._missing * self._before)
        if distribution is None and not self._flat:
            self._before += 1
        else:
            self._flat.extend(distribution or self._missing)

    def table(self) -> np.ndarray | None:
        """(votes, labels), NaN where a vote has none; None where no vote has one."""
        return np.array(self._flat).reshape(-1, len(self._missing)) if self._flat else None


def _numbers(column: "array[int]") -> np.ndarray:
    return np.array(column, np.int64)


def _probes(votes: Iterable[Vote], number: Mapping[str, int], shown: ShownBy) -> Probes | None:
    read = [vote for vote in votes if vote.distribution is not None and vote.voter in number]
    if not read:
        return None
    return Probes(
        np.array([number[vote.voter] for vote in read], np.int64),
        np.array([rotation_of(vote, shown) for vote in read], np.int64),
        np.array([vote.distribution for vote in read], float),
    )


def normalised(values: np.ndarray) -> Shares:
    """Rows divided by their sum; NaN where the sum is 0."""
    total = values.sum(1, keepdims=True)
    shares: Shares = np.divide(values, total, out=np.full(values.shape, np.nan), where=total > 0)
    return shares


def at_known(shares: Shares, known: np.ndarray | None) -> Shares:
    """The shares with certainty where the label is known."""
    if known is None:
        return shares
    return np.where(known[:, None] >= 0, np.eye(shares.shape[1])[np.maximum(known, 0)], shares)
