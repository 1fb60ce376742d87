"""Near-duplicates among any number of texts: MinHash signatures, bands on disk, one band in memory at a time.

datasketch makes one signature at a time, and its index, MinHashLSH, holds every text in as many Python sets as there
are bands, all in memory. Here numpy makes those of some hundred texts at once, and a band of a signature is a number of
eight bytes in a file; texts that share a band are neighbours when these numbers are sorted.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from xpoll.core.progress import Progress
from xpoll.personas.deduplication.spool import AT_A_TIME, Spool
from xpoll.personas.near_duplicates import SHINGLE, SIMILAR, fold, jaccard, shingles_of

BANDS, ROWS = 20, 4
"""Two texts of Jaccard similarity 0.7 share a band with probability 0.996, of 0.5 with 0.73, of 0.3 with 0.15."""
HASHED_AT_ONCE = 512
"""Texts whose shingles are held as numbers at once; more do not stay in a processor's cache."""
MARGIN = 0.2
"""How far below the bound the similarity that two signatures estimate may lie: at 0.7 four of its standard errors."""
MOST_COMPARED = 32
"""Texts of a band that a text is compared with at most: the first ones, which are those that are kept."""


class Signatures(NamedTuple):
    """MinHash signatures of texts, on disk.

    Attributes:
        bands: (BANDS, texts) uint64: a number for each band of a signature.
        values: (texts, BANDS * ROWS) uint16: the signature, of each value its last 16 bits.
    """

    bands: np.ndarray
    values: np.ndarray


def write_signatures(spool: Spool, folder: Path) -> Signatures:
    """Computes the signatures of all texts.

    Source: A. Broder, "On the resemblance and containment of documents", 1997; a permutation of the shingles is the
    order of their hashes times an odd number, as in M. Dietzfelbinger et al., "A reliable randomized algorithm for the
    closest-pair problem", 1997.

    Args:
        spool: The texts.
        folder: Where to write.
    """
    bands = np.memmap(folder / "bands", np.uint64, "w+", shape=(BANDS, spool.number))
    values = np.memmap(folder / "signatures", np.uint16, "w+", shape=(spool.number, BANDS * ROWS))
    mixed = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5][:ROWS], np.uint64)
    factors = np.random.default_rng(0).integers(0, 2**63, BANDS * ROWS, np.uint64) * np.uint64(2) + np.uint64(1)
    first = 0
    with Progress("hashing personas", total=spool.number, unit="personas") as progress:
        for texts in spool.batches():
            for start in range(0, len(texts), HASHED_AT_ONCE):
                hashes, begins = shingle_hashes(texts[start : start + HASHED_AT_ONCE])
                least = _scrambled(np.stack([np.minimum.reduceat(hashes * factor, begins) for factor in factors], 1))
                some = slice(first, first + len(begins))
                values[some] = least.astype(np.uint16)
                bands[:, some] = (least.reshape(-1, BANDS, ROWS) * mixed).sum(2, dtype=np.uint64).T
                first += len(begins)
            progress.add(len(texts))
    return Signatures(bands, values)


def shingle_hashes(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """A number for each shingle of some texts, as `shingles_of` has them but with repeats.

    Args:
        texts: At least one.

    Returns:
        (shingles,) uint64, text by text, and (texts,) where those of each text begin.
    """
    folded = [fold(text).ljust(SHINGLE, "\0") for text in texts]
    points = np.frombuffer("".join(folded).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    ends = np.cumsum([len(text) for text in folded])
    windows = len(points) - SHINGLE + 1
    hashes = np.zeros(windows, np.uint64)
    for place in range(SHINGLE):
        hashes = _scrambled(hashes + points[place : place + windows])
    is_whole = np.ones(windows, bool)
    for back in range(1, SHINGLE):
        is_whole[ends[:-1] - back] = False  # it would reach into the next text
    begins = np.concatenate(([0], ends[:-1])) - (SHINGLE - 1) * np.arange(len(folded))
    return hashes[is_whole], begins


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


def similar_pairs(spool: Spool, signatures: Signatures, gone: np.ndarray, *, similar: float = SIMILAR) -> int:
    """Marks the texts that are similar to one before them; returns how many pairs were compared.

    Args:
        spool: The texts.
        signatures: Theirs.
        gone: (texts,) booleans: which are taken out already; set where a text is found to be similar.
        similar: Jaccard similarity from which two texts are near-duplicates.
    """
    compared = 0
    with Progress("comparing personas", total=BANDS, unit="bands") as progress:
        for number in range(BANDS):
            seen, alive = 0, np.flatnonzero(~gone)
            for later, earlier in candidates_of(np.asarray(signatures.bands[number])[alive], alive):
                for start in range(0, len(later), AT_A_TIME):
                    some = slice(start, start + AT_A_TIME)
                    near = _resemble(signatures.values, later[some], earlier[some], similar - MARGIN)
                    seen += _compare(spool, later[some][near], earlier[some][near], gone, similar)
            compared += seen
            progress.add(1, f"{int(gone.sum())} near-duplicates")
    return compared


def _resemble(values: np.ndarray, later: np.ndarray, earlier: np.ndarray, least: float) -> np.ndarray:
    """(pairs,) booleans: whose signatures agree in a share of at least `least`, which estimates their similarity."""
    return np.asarray((values[later] == values[earlier]).mean(1) >= least)


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
