"""Measures how far the personas of a panel are from each other, and chooses those that are farthest apart."""

from typing import NamedTuple

import numpy as np

NEAR = 0.9
"""Cosine similarity from which two personas count as the same; Persona Hub's bound (arXiv 2406.20094)."""


class Diversity(NamedTuple):
    """The distances within a panel, by its embeddings. All are None for a panel of one.

    Attributes:
        mean_distance: Mean cosine distance of two different personas: 0 all alike, about 1 unrelated.
        closest_distance: Cosine distance of the two that are most alike.
        near_duplicate_share: Share of the personas that have another one within a cosine similarity of 0.9.
    """

    mean_distance: float | None
    closest_distance: float | None
    near_duplicate_share: float | None


def diversity_of(embeddings: np.ndarray) -> Diversity:
    """The distances within a panel; those to four decimals.

    Args:
        embeddings: (personas, dimensions), rows of length 1.
    """
    n = len(embeddings)
    if n < 2:
        return Diversity(None, None, None)
    similarity = embeddings @ embeddings.T
    others = similarity[~np.eye(n, dtype=bool)].reshape(n, n - 1)
    closest = others.max(1)
    return Diversity(
        round(float(1 - others.mean()), 4), round(float(1 - closest.max()), 4), float((closest >= NEAR).mean())
    )


def farthest_first(embeddings: np.ndarray, number: int, *, given: np.ndarray | None = None) -> list[int]:
    """The rows chosen, in order: each time the one whose nearest chosen row is farthest away.

    The smallest distance among the chosen rows is at least half of the best possible. The first is the farthest
    from the `given` rows, or without any the row closest to the mean of all.

    Source: T. Gonzalez, "Clustering to minimize the maximum intercluster distance", 1985.

    Args:
        embeddings: (candidates, dimensions), rows of length 1.
        number: How many to choose, at most the number of candidates.
        given: (rows, dimensions) that are chosen already and are not among the candidates.
    """
    if given is not None and len(given):
        chosen: list[int] = []
        similarity = (embeddings @ given.T).max(1)
    else:
        chosen = [int(np.argmax(embeddings @ embeddings.mean(0)))]
        similarity = embeddings @ embeddings[chosen[0]]
    while len(chosen) < number:
        open_rows = similarity.copy()
        open_rows[chosen] = np.inf
        chosen.append(int(np.argmin(open_rows)))
        similarity = np.maximum(similarity, embeddings @ embeddings[chosen[-1]])
    return chosen[:number]


def without_outliers(embeddings: np.ndarray) -> list[int]:
    """The rows to keep, in order, without the tenth that is least similar to its nearest fifth of the others.

    The farthest row is by definition the oddest; without this a panel is made of mistakes, such as the
    few texts of a file that are in another language. A fifth, so that a small group of these is odd too.
    With fewer than 10 rows all are kept.

    Args:
        embeddings: (candidates, dimensions), rows of length 1.
    """
    n = len(embeddings)
    if n < 10:
        return list(range(n))
    similarity = embeddings @ embeddings.T
    np.fill_diagonal(similarity, -np.inf)
    nearest = np.partition(similarity, n - n // 5, axis=1)[:, n - n // 5 :]
    order = np.argsort(-nearest.mean(1), kind="stable")
    return sorted(order[: n - n // 10].tolist())
