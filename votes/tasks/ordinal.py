"""One step of a scale per text: the median of the distribution over the steps, whose order is that of the labels."""

from functools import partial
from typing import Any

import numpy as np

from xpoll.personas.answer_format import AnswerFormat
from xpoll.votes.ballots import Shares
from xpoll.votes.compare import compare_labels
from xpoll.votes.consensus import consensus_rows, medians
from xpoll.votes.parse import to_vote
from xpoll.votes.tasks.kind import TaskKind


def steps_off(shares: Shares, truth: np.ndarray) -> dict[str, Any]:
    """How many steps of the scale the labels are off on average, of those that are decided and have a gold label.

    Args:
        shares: (documents, labels).
        truth: (documents,) number of the gold label, -1 where there is none.
    """
    decided = medians(shares)
    kept = (decided >= 0) & (truth >= 0)
    return {"mean_absolute_error": float(np.abs(decided - truth)[kept].mean()) if kept.any() else None}


ORDINAL = TaskKind(
    AnswerFormat(
        bare="one of them, from the lowest to the highest",
        in_json="one of these, from the lowest to the highest",
        note="The labels are the steps of a scale.",
    ),
    to_vote,
    partial(consensus_rows, decide=medians),
    partial(compare_labels, decide=medians, further=steps_off),
    # Their order is fixed, and a stop rule decides majorities.
    allows=frozenset({"panel.content_free", "panel.logprobs", "task.label_priors", "teachers"}),
    head="step",
)
