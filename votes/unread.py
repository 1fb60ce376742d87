"""Why answers became no vote: one line after a vote, with what mends the commonest reason."""

from collections import Counter
from collections.abc import Iterable

from xpoll.core.error_kinds import mend_of
from xpoll.core.records import AnyRecord, SetVote, Vote

_WRITTEN = "the engine cannot be read and wrote one list: such a vote has no probabilities (docs/decisions.md)"
_MENDS = {
    "truncated": "panel.max_tokens is too short: leave it out or raise it, and poll into another job.run_folder",
}
_LOOK = "completions/ holds what was answered, and the errors"
_ERROR = "error: "
_MOST_REASONS = 4


def unread_line(votes: Iterable[AnyRecord]) -> str | None:
    """How many answers have no label and why, the commonest reason first; None where each one has.

    Args:
        votes: The answers, read.
    """
    reasons: Counter[str] = Counter()
    number = 0
    for vote in votes:
        number += 1
        if isinstance(vote, Vote | SetVote) and vote.unparsable is not None:
            reasons[vote.unparsable] += 1
    if not reasons:
        return None
    commonest = reasons.most_common()
    named = ", ".join(f"{count} {reason}" for reason, count in commonest[:_MOST_REASONS])
    more = sum(count for _, count in commonest[_MOST_REASONS:])
    mend = _mend_of(commonest[0][0])
    return f"{reasons.total()} of {number} answers have no label: {named}{f', {more} others' if more else ''} -> {mend}"


def written_line(votes: Iterable[AnyRecord]) -> str | None:
    """How many answers are a written list of labels where each label was to be read; None where there is none.

    Args:
        votes: The answers of a panel whose `answer` is "read".
    """
    readable = [vote for vote in votes if isinstance(vote, SetVote) and vote.labels is not None]
    written = sum(vote.probabilities is None for vote in readable)
    return f"{written} of {len(readable)} answers: {_WRITTEN}" if written else None


def _mend_of(reason: str) -> str:
    if reason.startswith(_ERROR):
        return mend_of(reason.removeprefix(_ERROR))
    return _MENDS.get(reason, _LOOK)
