"""A pile of voted texts and the random sample of it, or beside it, that people labelled: what an estimate is made of.

Two kinds of rows may stand for the pile. The answers to `xpoll review sample` do: xpoll drew those texts at random from
the texts with a label. Gold rows do only if whoever made the gold file drew them at random from the same texts, which
nobody can see in the file. Texts that people label because the votes are unsure of them (`--max-error`) never do.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from xpoll.core.errors import InputError
from xpoll.core.records import Consensus
from xpoll.votes.review.estimate import NO_LABEL, Audit, LabelShare, label_shares
from xpoll.votes.review.sample import labelled

MOST_GROUPS = 100
"""More groups than this have hardly an audited row each."""


class Pile(NamedTuple):
    """The texts that an estimate is about, and its audit.

    Attributes:
        document_ids: Of the texts of the pile.
        voted: (texts,) number of each one's voted label.
        audit: Its rows.
        audited_ids: (rows,) documents of the audit.
        without_label: Texts of the run that are not in the pile, because the votes gave them no label.
        skipped: Texts of the sample without an answer although a later one in the form has one. Where people skip
            what is hard, the others are no random sample any more.
        unanswered: Texts of the sample without an answer, skipped ones included.
    """

    document_ids: list[str]
    voted: np.ndarray
    audit: Audit
    audited_ids: list[str]
    without_label: int = 0
    skipped: int = 0
    unanswered: int = 0


def pile_of_review(consensus: Sequence[Consensus], labels: Sequence[str], review: Mapping[str, Any]) -> Pile:
    """The texts with a voted label, and people's answers to the sample of them."""
    rows = labelled(consensus)
    answered = [row for row in review["rows"] if row["label"] is not None]
    last = max((place for place, row in enumerate(review["rows"]) if row["label"] is not None), default=-1)
    audit = Audit(
        _numbers([row["label"] for row in answered], labels),
        _numbers([row["voted_label"] for row in answered], labels),
        np.array([row["weight"] for row in answered], float),
        "review",
    )
    return Pile(
        [row.document_id for row in rows],
        _numbers([row.label for row in rows], labels),
        audit,
        [row["document_id"] for row in answered],
        without_label=sum(row.split == "train" for row in consensus) - len(rows),
        skipped=last + 1 - len(answered),
        unanswered=len(review["rows"]) - len(answered),
    )


def pile_beside_gold(consensus: Sequence[Consensus], labels: Sequence[str]) -> Pile:
    """All texts of the train split, and the gold rows as a random sample of the same kind of texts."""
    rows = [row for row in consensus if row.split == "train"]
    gold = [row for row in consensus if row.split == "gold" and row.gold_label is not None]
    audit = Audit(
        _numbers([row.gold_label for row in gold], labels),
        _numbers([row.label for row in gold], labels),
        np.ones(len(gold)),
        "gold",
    )
    voted = [row.voted_label or row.label for row in rows]
    return Pile([row.document_id for row in rows], _numbers(voted, labels), audit, [row.document_id for row in gold])


def shares_by_group(
    pile: Pile, num_labels: int, group_of: Mapping[str, str] | None
) -> dict[str | None, tuple[int, int, list[LabelShare]]]:
    """Group to its number of texts and of audited rows, and each label's share; one group, None, without groups.

    Args:
        pile: Texts and audit.
        num_labels: Number of labels.
        group_of: Document id to its group.

    Raises:
        InputError: there are too many groups, or a text of the run is not in the input any more.
    """
    if group_of is None:
        return {None: (len(pile.voted), len(pile.audited_ids), label_shares(pile.voted, pile.audit, num_labels))}
    groups, audited = (_groups(ids, group_of) for ids in (pile.document_ids, pile.audited_ids))
    names = sorted(set(groups.tolist()))
    if len(names) > MOST_GROUPS:
        raise InputError(
            f"--by makes {len(names)} groups, at most {MOST_GROUPS} can be told apart", mend="name a coarser column"
        )
    found: dict[str | None, tuple[int, int, list[LabelShare]]] = {}
    for name in names:
        inside, rows = groups == name, audited == name
        found[name] = (
            int(inside.sum()),
            int(rows.sum()),
            label_shares(pile.voted[inside], pile.audit.of(rows), num_labels),
        )
    return found


def _groups(document_ids: Sequence[str], group_of: Mapping[str, str]) -> np.ndarray:
    missing = next((each for each in document_ids if each not in group_of), None)
    if missing is not None:
        raise InputError(
            f"document {missing!r} of the run is not in the input file", mend="name the files that the run was made of"
        )
    return np.array([group_of[each] for each in document_ids], dtype=object)


def _numbers(names: Sequence[str | None], labels: Sequence[str]) -> np.ndarray:
    number = {label: place for place, label in enumerate(labels)}
    return np.array([NO_LABEL if name is None else number[name] for name in names], int)
