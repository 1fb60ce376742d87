"""What each teacher of a run adds to the vote."""

from typing import Any

import numpy as np

from xpoll.core.errors import UserError
from xpoll.votes.ballots import Ballots, Shares
from xpoll.votes.consensus import Decide
from xpoll.votes.methods.counting import majority
from xpoll.votes.methods.registry import method_of


def compare_teachers(ballots: Ballots, truth: np.ndarray, method: str, decide: Decide) -> list[dict[str, Any]]:
    """Each teacher alone, and the vote with and without it; none where the votes are of one.

    Accuracies are over documents with a gold label, where an abstention is not right; None without any. `agreement` is
    the share of documents for which the label by this method is that of the vote without the teacher.

    Args:
        ballots: The votes.
        truth: (documents,) number of the gold label, -1 where there is none.
        method: The one that is compared.
        decide: From shares to the number of each document's label.
    """
    teacher_of = ballots.teacher_of
    if teacher_of is None or ballots.num_teachers < 2:
        return []
    known = truth >= 0

    def accuracy(decided: np.ndarray) -> float | None:
        return float((decided == truth)[known].mean()) if known.any() else None

    whole = decide(_shares(ballots, method))
    rows = []
    for number, name in enumerate(ballots.teacher_ids):
        alone = decide(_shares(ballots.of_teacher(number), method))
        without = decide(_shares(ballots.only(teacher_of[ballots.persona_of] != number), method))
        with_it, without_it = accuracy(whole), accuracy(without)
        both = (alone >= 0) & (without >= 0)
        rows.append(
            {
                "teacher": name,
                "votes": len(ballots.of_teacher(number).label_of),
                "accuracy": accuracy(alone),
                "accuracy_without": without_it,
                "adds": None if with_it is None or without_it is None else with_it - without_it,
                "agreement": float((alone == without)[both].mean()) if both.any() else None,
                "labels_changed": float((whole != without).mean()),
            }
        )
    return rows


def _shares(ballots: Ballots, method: str) -> Shares:
    """By the method, or of votes that lack what it reads by the majority."""
    try:
        return method_of(method).function(ballots)
    except UserError:
        return majority(ballots)
