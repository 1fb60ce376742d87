"""Finds labels that are likely wrong: a classifier is confident of another one (confident learning).

The classifier is a naive Bayes over words and word pairs, trained on the labels themselves by
cross-validation, so that no document is judged by a classifier that was trained on it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from xpoll.core.confident_learning import confident_labels

FOLDS = 5
MOST_TERMS = 2**18  # words and word pairs; beyond them the rarest are left out
SMOOTHING = 0.1
TOKEN = r"\w+|[^\w\s]"


class LabelError(NamedTuple):
    """A row whose label is likely wrong.

    Attributes:
        row: Its number.
        suggested: Number of the likelier label.
        margin: Probability of the likeliest label minus that of the given one, 0 to 1.
    """

    row: int
    suggested: int
    margin: float


def likely_errors(labels: np.ndarray, probabilities: np.ndarray) -> list[LabelError]:
    """The rows off the diagonal of the confident joint, the largest margin first.

    See `core.confident_learning` for the label that a row is confidently counted under.

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
    """(texts, labels) probabilities, each row from a classifier that was not trained on its text.

    Args:
        texts: What was labelled.
        labels: (texts,) number of the given label, below `num_labels`.
        num_labels: Number of labels, whether or not each was given.
        seed: Of the folds.
    """
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.naive_bayes import MultinomialNB
    from sklearn.preprocessing import normalize

    probabilities = np.full((len(texts), num_labels), 1 / num_labels)
    if len(texts) < 2 or not any(map(str.strip, texts)):
        return probabilities
    counter = CountVectorizer(token_pattern=TOKEN, ngram_range=(1, 2), max_features=MOST_TERMS, binary=True)
    terms = counter.fit_transform(texts)
    terms.resize(len(texts), MOST_TERMS)  # smoothing is over all these terms, so that labels with few words win nothing
    # Of equal length, a text's scores are their sum over the root of its terms: words of a text are not independent,
    # and their plain sum is always certain.
    of_equal_length = normalize(terms)
    fold_of = np.random.default_rng(seed).permutation(len(texts)) % FOLDS
    for fold in range(FOLDS):
        held_out, train = np.flatnonzero(fold_of == fold), np.flatnonzero(fold_of != fold)
        if len(held_out) == 0:
            continue
        prior = np.bincount(labels[train], minlength=num_labels) + 1
        model = MultinomialNB(alpha=SMOOTHING, class_prior=prior / prior.sum())
        model.partial_fit(terms[train], labels[train], classes=range(num_labels))
        probabilities[held_out] = model.predict_proba(of_equal_length[held_out])
    return probabilities
