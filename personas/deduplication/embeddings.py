"""Near-duplicates by meaning: embeddings on disk, compared within clusters.

All pairs of a million texts would take hours. As in SemDeDup (A. Abbas et al., arXiv 2303.09540) texts are clustered
and compared within their cluster; here each is in its two nearest ones, so that a pair across a border is found, too.
"""

from pathlib import Path

import numpy as np

from xpoll.core.progress import Progress
from xpoll.personas.deduplication.spool import Spool
from xpoll.personas.embedding import embed

NEAR = 0.9
"""Cosine similarity from which two personas are the same; Persona Hub's bound (arXiv 2406.20094)."""
TEXTS_PER_CLUSTER = 2000
"""Texts of a cluster on average: comparing costs the square of it, clustering the inverse."""
SAMPLE_PER_CLUSTER = 50
"""Texts that a cluster's middle is found from."""
NEAREST = 2
"""Clusters that a text is compared in."""
AT_A_TIME = 4096


def write_embeddings(spool: Spool, path: Path) -> np.memmap:
    """(texts, 384) float16 on disk, rows of length 1.

    Raises:
        ModelError: the encoder's package is not installed.
    """
    vectors, first = None, 0
    with Progress("embedding personas", total=spool.number, unit="personas") as progress:
        for texts in spool.batches():
            found = embed(texts)
            if vectors is None:
                vectors = np.memmap(path, np.float16, "w+", shape=(spool.number, found.shape[1]))
            vectors[first : first + len(texts)] = found
            first += len(texts)
            progress.add(len(texts))
    assert vectors is not None
    return vectors


def mark_near(vectors: np.ndarray, gone: np.ndarray, *, near: float = NEAR, seed: int = 0) -> int:
    """Marks the texts that are near one before them; returns the number of clusters.

    Args:
        vectors: (texts, dimensions), rows of length 1.
        gone: (texts,) booleans: which are taken out already; set where a text is found to be near an earlier one.
        near: Cosine similarity from which two texts are the same.
        seed: Of the clusters.
    """
    clusters = max(1, len(vectors) // TEXTS_PER_CLUSTER)
    middles = _middles(vectors, clusters, seed)
    nearest = min(NEAREST, clusters)
    members = np.empty((len(vectors), nearest), np.int32)
    for start in range(0, len(vectors), AT_A_TIME):
        similarity = vectors[start : start + AT_A_TIME].astype(np.float32) @ middles.T
        members[start : start + AT_A_TIME] = np.argpartition(-similarity, nearest - 1, axis=1)[:, :nearest]
    order = np.argsort(members.ravel(), kind="stable")
    rows, ends = order // nearest, np.cumsum(np.bincount(members.ravel(), minlength=clusters))
    with Progress("comparing embeddings", total=clusters, unit="clusters") as progress:
        for cluster in range(clusters):
            own = rows[(ends[cluster - 1] if cluster else 0) : ends[cluster]]
            _mark_within(vectors, own[~gone[own]], gone, near)
            progress.add(1)
    return clusters


def _middles(vectors: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    """(clusters, dimensions) rows of length 1, from a sample."""
    if clusters == 1:
        return np.ones((1, vectors.shape[1]), np.float32)
    from sklearn.cluster import MiniBatchKMeans

    draw = np.random.default_rng(seed)
    number = min(len(vectors), clusters * SAMPLE_PER_CLUSTER)
    sample = vectors[np.sort(draw.choice(len(vectors), number, replace=False))].astype(np.float32)
    found = MiniBatchKMeans(clusters, random_state=seed, n_init=1, batch_size=AT_A_TIME).fit(sample).cluster_centers_
    return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-6), np.float32)


def _mark_within(vectors: np.ndarray, rows: np.ndarray, gone: np.ndarray, near: float) -> None:
    """Compares the texts of a cluster; `rows` ascend, so that the first of two stays."""
    rows = np.sort(rows)
    for start in range(0, len(rows), AT_A_TIME):
        some = rows[start : start + AT_A_TIME]
        block = vectors[some].astype(np.float32)
        for before in range(0, start + len(some), AT_A_TIME):
            others = rows[before : before + AT_A_TIME]
            close = np.argwhere(block @ vectors[others].astype(np.float32).T >= near)
            for i, j in close.tolist():
                if others[j] < some[i] and not gone[some[i]] and not gone[others[j]]:
                    gone[some[i]] = True
