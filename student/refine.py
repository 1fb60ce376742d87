"""Better targets from students that have not seen the text: noisy votes, seen from outside.

The voted rows are cut into folds. For each fold, a student is trained on the others and says what it
makes of the fold. A vote and a student that never saw that text err for different reasons, so the two
together are right more often than either. No gold label is used.
"""

from collections.abc import Callable, Sequence

import numpy as np

from xpoll.core.confident_learning import confident_labels

_SMALLEST = 1e-6


def unseen_probabilities(
    num_rows: int,
    num_labels: int,
    predict: Callable[[Sequence[int], Sequence[int]], np.ndarray],
    *,
    folds: int,
    seed: int,
) -> np.ndarray:
    """(rows, labels) float64: for each row what a student says that was trained on the other folds.

    Args:
        num_rows: How many voted rows there are.
        num_labels: Labels of the task.
        predict: From numbers of training rows and of held-out rows to (held-out rows, labels) probabilities.
        folds: At least 2.
        seed: Of the assignment of rows to folds.
    """
    fold_of = np.random.default_rng(seed).permutation(num_rows) % folds
    found = np.zeros((num_rows, num_labels))
    for fold in range(folds):
        outside, inside = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        if len(inside):
            found[inside] = predict(outside.tolist(), inside.tolist())
    return found


def distilled(targets: np.ndarray, unseen: np.ndarray, *, trust: float) -> np.ndarray:
    """(rows, labels): votes times what the students add to how frequent labels are, normalised.

    Args:
        targets: (rows, labels) voted distributions.
        unseen: (rows, labels) of students that did not see the row.
        trust: Power of the students' factor: 1 takes them to err independently of the votes they were
            trained on, 0 leaves the votes as they are.
    """
    factor = np.maximum(unseen, _SMALLEST) / np.maximum(unseen.mean(0), _SMALLEST)
    # A one-hot vote would stay one-hot whatever the students say.
    product = np.maximum(targets, 0.01) * factor**trust
    made: np.ndarray = product / product.sum(1, keepdims=True)
    return made


def cotrained(unseen: np.ndarray, reasoned: np.ndarray) -> np.ndarray:
    """(rows, labels): the mean of what students make of the texts and a classifier of the reasons stated for them.

    The votes have no part in it but through these two, neither of which has seen the row's own.
    """
    made: np.ndarray = (unseen + reasoned) / 2
    return made


def pruned(targets: np.ndarray, unseen: np.ndarray) -> np.ndarray:
    """The targets, with nothing left of those that the students are confidently against."""
    voted = targets.argmax(1)
    likely = confident_labels(voted, unseen)
    made: np.ndarray = targets * ((likely < 0) | (likely == voted))[:, None]
    return made
