"""Labels that are likely wrong, found by a classifier that disagrees with them while sure of itself.

The classifier is a naive Bayes over words and word pairs, trained on the labels themselves: no document
is judged by a classifier that has seen it.
"""

import re
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from xpoll.core.confident_learning import confident_labels

FOLDS = 5
FEATURES = 2**18
SMOOTHING = 0.1
_WORD = re.compile(r"\w+|[^\w\s]")


class LabelError(NamedTuple):
    """A row whose label is likely wrong; `margin` is how much likelier the other label is, 0 to 1."""

    row: int
    suggested: int
    margin: float


def likely_errors(labels: np.ndarray, probabilities: np.ndarray) -> list[LabelError]:
    """The rows off the diagonal of the confident joint, the largest margin first.

    A row counts as of the label it is likeliest to have among those whose probability reaches what rows
    bearing that label have on average.

    Args:
        labels: (rows,) number of the given label.
        probabilities: (rows, labels), out of sample.
    """
    suggested = confident_labels(labels, probabilities)
    wrong = (suggested >= 0) & (suggested != labels)
    self_confidence = probabilities[np.arange(len(labels)), labels]
    margin = probabilities.max(1) - self_confidence
    rows = np.flatnonzero(wrong)
    order = rows[np.lexsort((rows, -margin[rows]))]
    return [LabelError(int(row), int(suggested[row]), float(margin[row])) for row in order]


def text_probabilities(texts: Sequence[str], labels: np.ndarray, num_labels: int, *, seed: int) -> np.ndarray:
    """(texts, labels): what classifiers that were not trained on a text make of it."""
    features = [_features(text) for text in texts]
    fold_of = np.random.default_rng(seed).permutation(len(texts)) % FOLDS
    probabilities = np.full((len(texts), num_labels), 1 / num_labels)
    everything = _counts(features, labels, num_labels)
    for fold in range(FOLDS):
        held_out = np.flatnonzero(fold_of == fold)
        if len(held_out) == 0:
            continue
        counts = everything - _counts([features[i] for i in held_out], labels[held_out], num_labels)
        logs = np.log(counts + SMOOTHING) - np.log((counts + SMOOTHING).sum(1, keepdims=True))
        prior = np.log(np.bincount(np.delete(labels, held_out), minlength=num_labels) + 1.0)
        for i in held_out:
            # The mean, not the sum: words of a text are not independent, and sums of them are always certain.
            scores = prior - prior.max() + logs[:, features[i]].sum(1) / np.sqrt(max(1, len(features[i])))
            shares = np.exp(scores - scores.max())
            probabilities[i] = shares / shares.sum()
    return probabilities


def _features(text: str) -> np.ndarray:
    words = _WORD.findall(text.lower())
    terms = [*words, *(f"{a} {b}" for a, b in zip(words, words[1:], strict=False))]
    return np.unique(np.array([zlib.crc32(term.encode()) % FEATURES for term in terms], np.int64))


def _counts(features: Sequence[np.ndarray], labels: np.ndarray, num_labels: int) -> np.ndarray:
    counts = np.zeros((num_labels, FEATURES))
    for row, label in zip(features, labels, strict=True):
        counts[label, row] += 1
    return counts
