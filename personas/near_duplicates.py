"""Finds near-duplicate texts by MinHash and locality-sensitive hashing, then by their exact Jaccard similarity."""

import zlib
from collections.abc import Sequence

SHINGLE = 5
SIMILAR = 0.7
"""Jaccard similarity of the sets of five-character shingles from which two texts are near-duplicates."""

_BANDS, _ROWS = 32, 4  # texts of Jaccard similarity 0.7 share a band with probability 0.9998


class NearDuplicates:
    """Texts that were kept, of which it tells whether a new one is similar to one of them.

    Signatures and shingles of all kept texts are in memory, some 20 KiB each; for a million texts see
    `personas.deduplication`.

    Args:
        similar: Jaccard similarity from which two texts are near-duplicates, at least 0.5.
    """

    def __init__(self, similar: float = SIMILAR) -> None:
        from datasketch import MinHash, MinHashLSH  # type: ignore[import-untyped]

        self._similar = similar
        # crc32 tells shingles apart as well as the default, SHA-1, and faster.
        self._empty = MinHash(num_perm=_BANDS * _ROWS, hashfunc=zlib.crc32)
        self._lsh = MinHashLSH(num_perm=_BANDS * _ROWS, params=(_BANDS, _ROWS))
        self._kept: list[frozenset[bytes]] = []

    def similar_to(self, text: str) -> tuple[int, float] | None:
        """The number of the kept text that this one is most similar to, and how much; if there is none, it is kept."""
        shingles = shingles_of(text)
        signature = self._empty.copy()
        signature.update_batch(shingles)
        found = max(((jaccard(shingles, self._kept[j]), -j) for j in self._lsh.query(signature)), default=(0.0, 0))
        if found[0] >= self._similar:
            return -found[1], found[0]
        self._lsh.insert(len(self._kept), signature)
        self._kept.append(shingles)
        return None


def without_near_duplicates(texts: Sequence[str]) -> list[int]:
    """Indices of the texts to keep, in order: none is similar to one that is kept before it.

    Source: A. Broder, "On the resemblance and containment of documents", 1997, as the package datasketch has it.
    """
    kept = NearDuplicates()
    return [i for i, text in enumerate(texts) if kept.similar_to(text) is None]


def jaccard(first: frozenset[bytes], second: frozenset[bytes]) -> float:
    """Size of the intersection of two sets over the size of their union, 0 to 1; one of them has a member."""
    both = len(first & second)
    return both / (len(first) + len(second) - both)


def fold(text: str) -> str:
    """A text without what does not matter: case and spacing."""
    return " ".join(text.casefold().split())


def shingles_of(text: str) -> frozenset[bytes]:
    """The runs of SHINGLE characters of a folded text; at least one."""
    folded = fold(text)
    starts = range(max(1, len(folded) - SHINGLE + 1))
    if folded.isascii():
        code = folded.encode()
        return frozenset([code[start : start + SHINGLE] for start in starts])
    return frozenset([folded[start : start + SHINGLE].encode("utf-8", "surrogatepass") for start in starts])
