"""Finds labels that are likely wrong: a classifier is confident of another one (confident learning).

The classifier is a naive Bayes over words and word pairs, trained on the labels themselves by
cross-validation, so that no document is judged by a classifier that was trained on it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from xpoll.core.confident_learning import confident_labels
from xpoll.core.sameness import first_of_same
from xpoll.core.statistics import accuracy

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
    from sklearn.preprocessing import normalize

    probabilities = np.full((len(texts), num_labels), 1 / num_labels)
    if len(texts) < 2 or not any(map(str.strip, texts)):
        return probabilities
    counter = CountVectorizer(token_pattern=TOKEN, ngram_range=(1, 2), max_features=MOST_TERMS, binary=True)
    terms = counter.fit_transform(texts)
    # Of equal length, a text's scores are their sum over the root of its terms: words of a text are not independent,
    # and their plain sum is always certain.
    of_equal_length = normalize(terms)
    # The same text is in one fold, however often it is there.
    fold_of = np.random.default_rng(seed).permutation(len(texts))[first_of_same(texts)] % FOLDS
    for fold in range(FOLDS):
        held_out, train = np.flatnonzero(fold_of == fold), np.flatnonzero(fold_of != fold)
        if len(held_out):
            scores = _scores(terms[train], labels[train], num_labels, of_equal_length[held_out])
            likely = np.exp(scores - scores.max(1, keepdims=True))
            probabilities[held_out] = likely / likely.sum(1, keepdims=True)
    return probabilities


def _scores(terms: Any, labels: np.ndarray, num_labels: int, asked: Any) -> np.ndarray:
    """(asked, labels): the logarithms of a multinomial naive Bayes, but for a constant per text.

    Only terms that a label has are held, so that memory follows the texts. All MOST_TERMS terms are smoothed over,
    so that labels with few words win nothing.
    """
    from scipy.sparse import csr_matrix

    has_label = csr_matrix((np.ones(len(labels)), (labels, np.arange(len(labels)))), (num_labels, len(labels)))
    counts = (has_label @ terms).tocsr()
    of_label = np.bincount(labels, minlength=num_labels)
    of_all_terms = np.asarray(counts.sum(1)).ravel() + SMOOTHING * MOST_TERMS
    counts.data = np.log(counts.data / SMOOTHING + 1)
    length = np.asarray(asked.sum(1)).reshape(-1, 1)
    found: np.ndarray = (asked @ counts.T).toarray() + np.log((of_label + 1) / (of_label + 1).sum())
    found += length * np.log(SMOOTHING / of_all_terms)
    return found


class Skill(NamedTuple):
    """How often the classifier meets the labels of texts that it was not trained on, against a constant answer.

    Attributes:
        right: Share of the labels that it meets, 0 to 1.
        most_frequent: Number of the label that is given most often.
        share: Its share of the labels, which is what always answering it would meet.
        knows: Whether the classifier is better than that by more than noise.
    """

    right: float
    most_frequent: int
    share: float
    knows: bool


def skill_of(labels: np.ndarray, probabilities: np.ndarray) -> Skill:
    """Whether anything can be said of the labels by these probabilities.

    Args:
        labels: (rows,) number of the given label; at least one row.
        probabilities: (rows, labels), out of sample.
    """
    counts = np.bincount(labels)
    met = accuracy(probabilities.argmax(1).tolist(), labels.tolist())
    share = float(counts.max() / len(labels))
    return Skill(met.value, int(counts.argmax()), share, met.low > share)
