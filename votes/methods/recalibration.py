"""Recalibrates confidence to the share that is right, by documents whose true label is known."""

from typing import NamedTuple

import numpy as np

from xpoll.votes.ballots import Shares

FEWEST = 20  # documents that each step of the curve rests on
AHEAD = 1e-6  # by which a label stays ahead of the next


class Recalibration(NamedTuple):
    """A step function: a confidence of at least `from_confidence[i]` becomes `becomes[i]`."""

    from_confidence: np.ndarray
    becomes: np.ndarray

    def applied(self, shares: Shares) -> Shares:
        """(documents, labels) shares, the largest of each row replaced and the others scaled to fill the rest.

        The label of a document never changes, and a tie stays as it is: where the step would put the
        label below the next one, it stays just above it.

        Args:
            shares: (documents, labels); a row of NaN stays one.
        """
        if not len(self.becomes):
            return shares
        ordered = np.sort(np.where(np.isnan(shares), 0, shares), 1)
        largest, second, rest = ordered[:, -1], ordered[:, -2], 1 - ordered[:, -1]
        changed = largest > second + 1e-9
        step = np.searchsorted(self.from_confidence, largest + 1e-9, side="right") - 1
        confidence = self.becomes[np.maximum(step, 0)]
        # Where nobody named another label, the rest is spread evenly.
        num_others = shares.shape[1] - 1
        others = np.where(rest[:, None] > 0, shares / np.where(rest > 0, rest, 1)[:, None], 1 / num_others)
        next_of_rest = np.where(rest > 0, second / np.where(rest > 0, rest, 1), 1 / num_others)
        level = next_of_rest / (1 + next_of_rest)
        confidence = np.maximum(confidence, level + AHEAD)[:, None]
        is_largest = np.arange(shares.shape[1]) == np.argmax(np.where(np.isnan(shares), 0, shares), 1)[:, None]
        moved: Shares = np.where(is_largest, confidence, others * (1 - confidence))
        moved /= moved.sum(1, keepdims=True)
        return np.where(changed[:, None], moved, shares)


def fitted_recalibration(shares: Shares, truth: np.ndarray) -> Recalibration:
    """The rising step function from confidence to share right that fits best; empty with fewer than 20 documents.

    Documents of like confidence are first put together until there are 20, so that no step stands on a few.

    Args:
        shares: (documents, labels).
        truth: (documents,) number of the true label, -1 where it is not known.

    Source: Zadrozny and Elkan, "Transforming Classifier Scores into Accurate Multiclass Probability
    Estimates", KDD 2002 (isotonic regression).
    """
    filled = np.where(np.isnan(shares), 0, shares)
    ordered = np.sort(filled, 1)
    usable = (truth >= 0) & (ordered[:, -1] > ordered[:, -2] + 1e-9)
    if usable.sum() < FEWEST:
        return Recalibration(np.empty(0), np.empty(0))
    from scipy.optimize import isotonic_regression  # votes are mostly counted without known labels, and without SciPy

    # Equal confidence is one step, whatever order its documents came in.
    confidence, step = np.unique(np.round(ordered[usable, -1], 9), return_inverse=True)
    found = np.stack([np.bincount(step), np.bincount(step, filled[usable].argmax(1) == truth[usable])])
    starts = _large_enough(found[0])
    documents, right = np.add.reduceat(found, starts, axis=1)
    rising = isotonic_regression(right / documents, weights=documents).blocks[:-1]
    documents, right = np.add.reduceat([documents, right], rising, axis=1)
    # A step of a few documents right by luck would promise certainty: each is held to the mean of all.
    mean = right.sum() / documents.sum()
    return Recalibration(confidence[starts][rising], (right + mean) / (documents + 1))


def _large_enough(documents: np.ndarray) -> np.ndarray:
    """Where to begin each bin so that it holds at least FEWEST of these documents; the last takes what is left over."""
    starts, held = [], 0.0
    for i, number in enumerate(documents.tolist()):
        if held == 0:
            starts.append(i)
        held = held + number if held + number < FEWEST else 0
    if held and len(starts) > 1:
        starts.pop()
    return np.array(starts)
