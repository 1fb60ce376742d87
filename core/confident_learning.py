"""The label that a row likely has, by a classifier that was not trained on it (confident learning)."""

import numpy as np


def confident_labels(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """(rows,) number of the likeliest label that the classifier is confident of; -1 where there is none.

    It is confident of a label whose probability is at least its mean over the rows that have this label.

    Args:
        labels: (rows,) number of the given label.
        probabilities: (rows, labels), out of sample.

    Source: Northcutt, Jiang, Chuang, "Confident Learning", JAIR 70 (2021), definition of the confident joint.
    """
    num_labels = probabilities.shape[1]
    self_confidence = probabilities[np.arange(len(labels)), labels]
    count = np.bincount(labels, minlength=num_labels)
    mean = np.bincount(labels, self_confidence, minlength=num_labels) / np.maximum(count, 1)
    threshold = np.where(count > 0, mean, np.inf)
    confident = np.where(probabilities >= threshold - 1e-12, probabilities, -1.0)
    found: np.ndarray = np.where(confident.max(1) >= 0, confident.argmax(1), -1)
    return found
