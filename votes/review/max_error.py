"""Which labels people must give so that few of all labels are wrong: probably approximately correct labels.

The labels are ranked by confidence. From the most confident on, each label is kept as long as the audit shows that at
most the wanted share of all labels is wrong among those kept so far; people give the rest. Thresholds are tried in an
order that is fixed before anybody answers, up to the first that is not shown, so that one bound has to hold and not
all of them: at the first threshold whose kept labels have too many errors. That bound is Clopper and Pearson's, as in
bound.py.

Source: Candes, Ilyas, Zrnic, "Probably approximately correct labels", arXiv 2506.10908.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from xpoll.core.errors import InputError
from xpoll.core.records import Consensus
from xpoll.votes.review.bound import Stratum, most_wrong
from xpoll.votes.review.sample import labelled, ranked, sampled_strata, strata_of

USUAL_SIZE = 4
"""An audit is this many times the least one unless told otherwise, or a fifth of the texts if that is fewer: the least
one allows no wrong label among those that are kept, and the first wrong one sends all less confident texts to people.
"""


class ErrorTarget(NamedTuple):
    """What is to be shown of all labels; both in 0..1."""

    max_error: float
    confidence: float

    def checked(self) -> "ErrorTarget":
        """Itself.

        Raises:
            InputError: a value is not between 0 and 1.
        """
        for name, value in (("--max-error", self.max_error), ("--confidence", self.confidence)):
            if not 0 < value < 1:
                raise InputError(f"{name} {value:g} is not between 0 and 1", mend=f"give a share, e.g. {name} 0.02")
        return self


class ErrorGuarantee(NamedTuple):
    """How far the labels are from a target.

    Attributes:
        target: What is to be shown.
        doubtful: Texts that people had to label beside the audit.
        unanswered: Those of them that nobody labelled yet; with 0 the target is met.
    """

    target: ErrorTarget
    doubtful: int
    unanswered: int


def wrong_allowed(strata: Sequence[Stratum], target: ErrorTarget) -> int:
    """How many audited labels may be wrong among those kept; -1 where the audit is too small for none."""
    documents, sampled = (sum(numbers) for numbers in zip(*strata, strict=True))
    allowed = -1
    while allowed < sampled and most_wrong(strata, allowed + 1, 1 - target.confidence) <= target.max_error * documents:
        allowed += 1
    return allowed


def least_size(documents: int, target: ErrorTarget) -> int:
    """Rows of the smallest audit that can show the target; all documents where no smaller one can."""
    size = math.floor(math.log(1 - target.confidence) / math.log(1 - target.max_error))
    while size < documents and (size < 1 or wrong_allowed(strata_of(documents, size), target) < 0):
        size += 1
    return min(size, documents)


def audit_size(documents: int, target: ErrorTarget, size: int | None) -> int:
    """How many rows to audit: `size` if it is enough, without it what is usual.

    Raises:
        InputError: so few rows cannot show the target.
    """
    least = least_size(documents, target)
    if size is None:
        return max(least, min(USUAL_SIZE * least, documents // 5))
    if size < least:
        raise InputError(
            f"{size} rows cannot show that at most {100 * target.max_error:g} % of {documents} labels are wrong with "
            f"{100 * target.confidence:g} % confidence, at least {least} can",
            mend=f"--size {least} or more",
        )
    return size


def doubtful_texts(
    review: Mapping[str, Any], consensus: Iterable[Consensus], target: ErrorTarget, *, seed: int
) -> list[Consensus]:
    """The texts outside of the audit that people must label, the most confident last.

    Args:
        review: The content of review.json, with answers; rows that nobody answered count as wrong.
        consensus: The labels, corrected by the answers.
        target: What is to be shown.
        seed: As of the draw; it ranks documents of equal confidence.

    Raises:
        InputError: the audit is too small, or is of all texts and not answered.
    """
    if review["sampled"] == review["documents"]:
        return _nothing_left(review)
    allowed = wrong_allowed(sampled_strata(review), target)
    if allowed < 0:
        audit_size(review["documents"], target, review["sampled"])
    audited = {row["document_id"]: row for row in review["rows"]}
    # A corrected label has a confidence of 1; what decides is that of the votes.
    asked = {row["document_id"]: row for row in review.get("doubtful", {}).get("rows", ())} | audited
    voted = [
        row._replace(confidence=asked[row.document_id]["confidence"]) if row.document_id in asked else row
        for row in labelled(consensus)
    ]
    found: list[Consensus] = []
    order = ranked(voted, seed)
    wrong = [row for row in order if row.document_id in audited and _is_wrong(audited[row.document_id])]
    if len(wrong) <= allowed:
        return found
    first_given_up = wrong[-1 - allowed].document_id
    for row in order:
        if row.document_id not in audited:
            found.append(row)
        if row.document_id == first_given_up:
            break
    return found


def _nothing_left(review: Mapping[str, Any]) -> list[Consensus]:
    """No text beside an audit of all of them, if all have answers."""
    if unanswered := sum(row["label"] is None for row in review["rows"]):
        raise InputError(
            f"the audit is of all {review['documents']} labelled texts, {unanswered} of them have no answer",
            mend="label them and import the form again",
        )
    return []


def guarantee_of(review: Mapping[str, Any]) -> ErrorGuarantee | None:
    """How far people are with the texts that `--max-error` gave them; None where nothing was asked for."""
    doubtful = review.get("doubtful")
    if doubtful is None:
        return None
    target = ErrorTarget(doubtful["max_error"], doubtful["confidence"])
    return ErrorGuarantee(target, len(doubtful["rows"]), sum(row["label"] is None for row in doubtful["rows"]))


def _is_wrong(row: Mapping[str, Any]) -> bool:
    return bool(row["label"] != row["voted_label"])
