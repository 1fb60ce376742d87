"""One label per text: the one with the largest share."""

from xpoll.personas.answer_format import ONE_LABEL
from xpoll.votes.compare import compare_labels
from xpoll.votes.consensus import consensus_rows
from xpoll.votes.parse import to_vote
from xpoll.votes.tasks.kind import LIMITED, TaskKind

SINGLE = TaskKind(
    ONE_LABEL,
    to_vote,
    consensus_rows,
    compare_labels,
    allows=frozenset(LIMITED),
)
