"""Why answers became no vote: one line after a vote, with what mends the commonest reason."""

from collections import Counter
from collections.abc import Iterable, Mapping

from xpoll.core.error_kinds import mend_of
from xpoll.core.records import AnyRecord, SetVote, Vote
from xpoll.core.span_records import SpanVote

_WRITTEN = "the engine cannot be read and wrote one list: such a vote has no probabilities (docs/explanation/reads.md)"
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
    return line_of(Counter(map(reason_of_vote, votes)))


def reason_of_vote(vote: AnyRecord) -> str | None:
    """Why a vote has no label; None where it has one."""
    return vote.unparsable if isinstance(vote, Vote | SetVote | SpanVote) else None


def line_of(found: Mapping[str | None, int]) -> str | None:
    """As `unread_line`, from the number of votes of each reason; those that have a label are under None."""
    number = sum(found.values())
    reasons = Counter({reason: count for reason, count in found.items() if reason is not None})
    if not reasons:
        return None
    commonest = reasons.most_common()
    named = ", ".join(f"{count} {reason}" for reason, count in commonest[:_MOST_REASONS])
    more = sum(count for _, count in commonest[_MOST_REASONS:])
    mend = _mend_of(commonest[0][0])
    return f"{reasons.total()} of {number} answers have no label: {named}{f', {more} others' if more else ''} -> {mend}"


def is_written(vote: AnyRecord) -> bool:
    """Whether a vote is a written list of labels, without a probability of each."""
    return isinstance(vote, SetVote) and vote.labels is not None and vote.probabilities is None


def written_line(written: int, *, of: int) -> str | None:
    """How many answers are a written list of labels where each label was to be read; None where there is none.

    Args:
        written: Number of such votes.
        of: Number of all votes that have labels.
    """
    return f"{written} of {of} answers: {_WRITTEN}" if written else None


def _mend_of(reason: str) -> str:
    if reason.startswith(_ERROR):
        return mend_of(reason.removeprefix(_ERROR))
    return _MENDS.get(reason, _LOOK)
