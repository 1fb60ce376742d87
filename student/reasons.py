"""What the teacher's stated reasons say of each text, read by a classifier that has not seen them.

A chain of thought names a reason before its label, and the two do not always agree. The text and the
reasons are two views of one document whose readers err differently, so the mean of the two is right more
often than either, and than the votes (Blum and Mitchell 1998, "Combining Labeled and Unlabeled Data with
Co-Training"). The classifier is a logistic regression on words and pairs of words. No gold label is used.
"""

import re
from collections.abc import Sequence

import numpy as np

from xpoll.student.refine import unseen_probabilities

INVERSE_PENALTY = 30.0
"""Of the logistic regression. Of 1, 3, 10 and 30 the one whose unseen answers have the least cross entropy against
the votes of 1,811 recorded sentences, by three reasons each."""
_SMALLEST_SHARE = 1e-3
_WORD = r"(?u)\b\w+\b"


def reason_probabilities(reasons: Sequence[Sequence[str]], targets: np.ndarray, *, folds: int, seed: int) -> np.ndarray:
    """(rows, labels) float64: what a classifier of the other folds' reasons makes of each row's reasons.

    Args:
        reasons: Stated reasons of each row. A row without one keeps its targets.
        targets: (rows, labels) voted distributions.
        folds: At least 2.
        seed: Of the assignment of rows to folds.
    """
    documents = [" ".join(each) for each in reasons]
    stated = np.array([i for i, document in enumerate(documents) if re.search(_WORD, document)], int)
    found = targets.astype(float)

    def predict(outside: Sequence[int], inside: Sequence[int]) -> np.ndarray:
        read = [documents[i] for i in stated[list(outside)]]
        asked = [documents[i] for i in stated[list(inside)]]
        return _classified(read, targets[stated[list(outside)]], asked)

    if len(stated) >= folds:
        found[stated] = unseen_probabilities(len(stated), targets.shape[1], predict, folds=folds, seed=seed)
    return found


def _classified(documents: Sequence[str], targets: np.ndarray, asked: Sequence[str]) -> np.ndarray:
    """(asked, labels) by a classifier of documents, each of which is a row for every label that its target has."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    rows, labels = np.nonzero(targets > _SMALLEST_SHARE)
    found = np.zeros((len(asked), targets.shape[1]))
    if len(set(labels)) < 2:
        found[:, labels[:1]] = 1.0
        return found
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=_WORD)
    features = words.fit_transform(documents)
    classifier = LogisticRegression(C=INVERSE_PENALTY, max_iter=3000)
    classifier.fit(features[rows], labels, sample_weight=targets[rows, labels])
    found[:, classifier.classes_] = classifier.predict_proba(words.transform(asked))
    return found
