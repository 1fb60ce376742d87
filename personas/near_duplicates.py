"""Finds texts that say nearly the same, by MinHash with banding, then by their exact Jaccard similarity.

Source: A. Broder, "On the resemblance and containment of documents", 1997.
"""

import zlib
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

SHINGLE = 5
SIMILAR = 0.7
"""Jaccard similarity of the sets of five-character shingles from which two texts count as the same."""

_BANDS, _ROWS = 32, 4  # texts of Jaccard similarity 0.7 share a band with probability 0.9998
_PRIME = np.uint64(2**31 - 1)


def without_near_duplicates(texts: Sequence[str]) -> list[int]:
    """Indices of the texts to keep, in order: each is like none that is kept before it."""
    shingles = [_shingles(text) for text in texts]
    signatures = _signatures(shingles)
    bands: list[dict[bytes, list[int]]] = [defaultdict(list) for _ in range(_BANDS)]
    kept = []
    for i, signature in enumerate(signatures):
        keys = [signature[band * _ROWS : (band + 1) * _ROWS].tobytes() for band in range(_BANDS)]
        suspects = {j for band, key in zip(bands, keys, strict=True) for j in band.get(key, ())}
        if any(jaccard(shingles[i], shingles[j]) >= SIMILAR for j in suspects):
            continue
        kept.append(i)
        for band, key in zip(bands, keys, strict=True):
            band[key].append(i)
    return kept


def jaccard(first: frozenset[int], second: frozenset[int]) -> float:
    """Size of the intersection over size of the union."""
    both = len(first & second)
    return both / (len(first) + len(second) - both)


def _shingles(text: str) -> frozenset[int]:
    folded = " ".join(text.casefold().split())
    starts = range(max(1, len(folded) - SHINGLE + 1))
    return frozenset(zlib.crc32(folded[start : start + SHINGLE].encode()) for start in starts)


def _signatures(shingles: Sequence[frozenset[int]]) -> np.ndarray:
    """(texts, bands x rows) of uint32: the smallest value of each hash function over a text's shingles."""
    draws = np.random.default_rng(0).integers(1, int(_PRIME), (2, _BANDS * _ROWS), dtype=np.uint64)
    signatures = np.empty((len(shingles), _BANDS * _ROWS), np.uint32)
    for i, members in enumerate(shingles):
        values = np.fromiter(members, np.uint64, len(members))[:, None]  # below 2^32, so products stay below 2^63
        signatures[i] = ((values * draws[0] + draws[1]) % _PRIME).min(0)
    return signatures
