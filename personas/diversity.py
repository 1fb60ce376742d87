"""How far the personas of a panel are from each other, and the choice of those that are farthest."""

from typing import NamedTuple

import numpy as np

NEAR = 0.9
"""Cosine similarity from which two personas count as the same; Persona Hub's bound (arXiv 2406.20094)."""


class Diversity(NamedTuple):
    """What a panel's embeddings say of it. None for a panel of one.

    Attributes:
        mean_distance: Mean cosine distance of two different personas: 0 all alike, about 1 unrelated.
        closest_distance: Cosine distance of the two that are most alike.
        near_duplicate_share: Share of the personas that have another one within a cosine similarity of 0.9.
    """

    mean_distance: float | None
    closest_distance: float | None
    near_duplicate_share: float | None


def diversity_of(embeddings: np.ndarray) -> Diversity:
    """The figures of a panel from its embeddings, (personas, dimensions) with rows of length 1."""
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
    """Rows to choose, one after the other: each time the one whose closest chosen row is farthest away.

    The smallest distance within the choice is at least half of the best possible. It starts from the
    `given` rows, or without any from the row closest to the mean of all.

    Source: T. Gonzalez, "Clustering to minimize the maximum intercluster distance", 1985.

    Args:
        embeddings: (candidates, dimensions), rows of length 1.
        number: How many to choose, at most the number of candidates.
        given: Rows that are chosen already and are not among the candidates.
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
    """Rows that are left without the tenth that is least like its nearest fifth of the others, in order.

    The farthest row is by definition the oddest; without this a panel is made of slips, such as the
    few texts of a file that are in another language. A fifth, so that a small group of them is odd too.
    """
    n = len(embeddings)
    if n < 10:
        return list(range(n))
    similarity = embeddings @ embeddings.T
    np.fill_diagonal(similarity, -np.inf)
    nearest = np.partition(similarity, n - n // 5, axis=1)[:, n - n // 5 :]
    order = np.argsort(-nearest.mean(1), kind="stable")
    return sorted(order[: n - n // 10].tolist())
