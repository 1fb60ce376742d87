"""Why answers became no vote: one line after a vote, with what mends the commonest reason."""

from collections import Counter
from collections.abc import Iterable, Mapping

from xpoll.core.records import AnyRecord, SetVote, Vote

_MENDS = {
    "truncated": "panel.max_tokens is too short: leave it out or raise it, and poll into another job.run_folder",
    "error: context_length": "text and answer do not fit into the model's context: see engine.vllm.max_model_len",
    "error: document": "correct these rows of documents.path; documents.parquet says what is wrong with each",
    "error: not_recorded": "engine.replay.path holds no answer to these",
    "error: poison": "the engine dies of these texts; leave them out of documents.path",
}
_LOOK = "completions/ holds what was answered, and the errors"
_MOST_REASONS = 4


def unread_line(votes: Iterable[AnyRecord]) -> str | None:
    """How many answers have no label and why, the commonest reason first; None where each one has.

    Args:
        votes: The answers, read.
    """
    return line_of(Counter(map(reason_of_vote, votes)))


def reason_of_vote(vote: AnyRecord) -> str | None:
    """Why a vote has no label; None where it has one."""
    return vote.unparsable if isinstance(vote, Vote | SetVote) else None


def line_of(found: Mapping[str | None, int]) -> str | None:
    """As `unread_line`, from the number of votes of each reason; those that have a label are under None."""
    number = sum(found.values())
    reasons = Counter({reason: count for reason, count in found.items() if reason is not None})
    if not reasons:
        return None
    commonest = reasons.most_common()
    named = ", ".join(f"{count} {reason}" for reason, count in commonest[:_MOST_REASONS])
    more = sum(count for _, count in commonest[_MOST_REASONS:])
    mend = _MENDS.get(commonest[0][0], _LOOK)
    return f"{reasons.total()} of {number} answers have no label: {named}{f', {more} others' if more else ''} -> {mend}"
