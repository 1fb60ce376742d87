"""Finds near-duplicate texts by MinHash and locality-sensitive hashing, then by their exact Jaccard similarity."""

import zlib
from collections.abc import Sequence

SHINGLE = 5
SIMILAR = 0.7
"""Jaccard similarity of the sets of five-character shingles from which two texts are near-duplicates."""

_BANDS, _ROWS = 32, 4  # texts of Jaccard similarity 0.7 share a band with probability 0.9998


def without_near_duplicates(texts: Sequence[str]) -> list[int]:
    """Indices of the texts to keep, in order: none is similar to one that is kept before it.

    Source: A. Broder, "On the resemblance and containment of documents", 1997, as the package datasketch has it.
    """
    from datasketch import MinHash, MinHashLSH  # type: ignore[import-untyped]

    shingles = [_shingles(text) for text in texts]
    kept_before = MinHashLSH(num_perm=_BANDS * _ROWS, params=(_BANDS, _ROWS))
    kept = []
    # crc32 tells shingles apart as well as the default, SHA-1, and faster.
    for i, signature in enumerate(MinHash.generator(shingles, num_perm=_BANDS * _ROWS, hashfunc=zlib.crc32)):
        if all(jaccard(shingles[i], shingles[j]) < SIMILAR for j in kept_before.query(signature)):
            kept.append(i)
            kept_before.insert(i, signature)
    return kept


def jaccard(first: frozenset[bytes], second: frozenset[bytes]) -> float:
    """Size of the intersection of two sets over the size of their union, 0 to 1; one of them has a member."""
    both = len(first & second)
    return both / (len(first) + len(second) - both)


def _shingles(text: str) -> frozenset[bytes]:
    folded = " ".join(text.casefold().split())
    starts = range(max(1, len(folded) - SHINGLE + 1))
    return frozenset(folded[start : start + SHINGLE].encode() for start in starts)
