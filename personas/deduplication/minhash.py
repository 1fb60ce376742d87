"""Near-duplicates among any number of texts: MinHash signatures, bands on disk, one band in memory at a time.

The signatures are datasketch's. Its index, MinHashLSH, holds every text in as many Python sets as there are bands, all
in memory. Here a band of a signature is a number of eight bytes in a file; texts that share a band are neighbours when
these numbers are sorted.
"""

import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from xpoll.core.progress import Progress
from xpoll.personas.deduplication.spool import AT_A_TIME, Spool
from xpoll.personas.near_duplicates import SIMILAR, jaccard, shingles_of

BANDS, ROWS = 20, 4
"""Two texts of Jaccard similarity 0.7 share a band with probability 0.996, of 0.5 with 0.73, of 0.3 with 0.15."""
MOST_COMPARED = 32
"""Texts of a band that a text is compared with at most: the first ones, which are those that are kept."""


def write_bands(spool: Spool, path: Path) -> np.memmap:
    """(BANDS, texts) uint64 on disk: of each text a number for each band of its signature.

    Source: A. Broder, "On the resemblance and containment of documents", 1997, as the package datasketch has it.

    Args:
        spool: The texts.
        path: File to write.
    """
    from datasketch import MinHash

    bands = np.memmap(path, np.uint64, "w+", shape=(BANDS, spool.number))
    mixed = np.array(
        [[0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5][:ROWS]], np.uint64
    )
    first = 0
    with Progress("hashing personas", total=spool.number, unit="personas") as progress:
        for texts in spool.batches():
            shingles = (shingles_of(text) for text in texts)
            signatures = np.empty((len(texts), BANDS * ROWS), np.uint64)
            # crc32 tells shingles apart as well as the default, SHA-1, and faster.
            for i, each in enumerate(MinHash.generator(shingles, num_perm=BANDS * ROWS, hashfunc=zlib.crc32)):
                signatures[i] = each.hashvalues
            grouped = signatures.reshape(len(texts), BANDS, ROWS)
            hashed = (_scrambled(grouped) * mixed).sum(2, dtype=np.uint64)
            bands[:, first : first + len(texts)] = hashed.T
            first += len(texts)
            progress.add(len(texts))
    return bands


def _scrambled(values: np.ndarray) -> np.ndarray:
    """Numbers whose sums do not collide more often than chance has it: the finaliser of splitmix64."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(values ^ (values >> np.uint64(31)))


def candidates_of(band: np.ndarray, texts: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of texts that share a band: (pairs,) later and (pairs,) earlier numbers, some at a time.

    Each text is paired with up to MOST_COMPARED of the earliest ones of its group.

    Args:
        band: (texts,) numbers of one band.
        texts: (texts,) what these are called, ascending.
    """
    order = np.argsort(band, kind="stable")  # within a group in the order of the texts
    ordered = band[order]
    begins = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    group_of = np.repeat(np.arange(len(begins)), np.diff(np.append(begins, len(ordered))))
    place = np.arange(len(ordered)) - begins[group_of]
    for back in range(MOST_COMPARED):
        later = np.flatnonzero(place > back)
        if not len(later):
            return
        yield texts[order[later]], texts[order[begins[group_of[later]] + back]]


def similar_pairs(spool: Spool, bands: np.memmap, gone: np.ndarray, *, similar: float = SIMILAR) -> int:
    """Marks the texts that are similar to one before them; returns how many pairs were compared.

    Args:
        spool: The texts.
        bands: What `write_bands` wrote.
        gone: (texts,) booleans: which are taken out already; set where a text is found to be similar.
        similar: Jaccard similarity from which two texts are near-duplicates.
    """
    compared = 0
    with Progress("comparing personas", total=BANDS, unit="bands") as progress:
        for number in range(BANDS):
            seen, alive = 0, np.flatnonzero(~gone)
            for later, earlier in candidates_of(np.asarray(bands[number])[alive], alive):
                for start in range(0, len(later), AT_A_TIME):
                    some = slice(start, start + AT_A_TIME)
                    seen += _compare(spool, later[some], earlier[some], gone, similar)
            compared += seen
            progress.add(1, f"{int(gone.sum())} near-duplicates")
    return compared


def _compare(spool: Spool, later: np.ndarray, earlier: np.ndarray, gone: np.ndarray, similar: float) -> int:
    compared, last, shingles = 0, -1, frozenset[bytes]()
    for i, j in zip(later.tolist(), earlier.tolist(), strict=True):
        if gone[i] or gone[j]:  # what is similar to a text that is taken out may itself be kept
            continue
        compared += 1
        if j != last:
            last, shingles = j, shingles_of(spool[j])
        if jaccard(shingles_of(spool[i]), shingles) >= similar:
            gone[i] = True
    return compared
