"""Banding misses hardly a pair: what is kept is what comparing every pair keeps, and what MinHash by hand kept."""

import random
import zlib
from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from xpoll.personas.near_duplicates import SHINGLE, SIMILAR, without_near_duplicates


def shingles(text: str) -> set[str]:
    folded = " ".join(text.casefold().split())
    return {folded[start : start + SHINGLE] for start in range(max(1, len(folded) - SHINGLE + 1))}


def by_every_pair(texts: Sequence[str]) -> list[int]:
    sets, kept = [shingles(text) for text in texts], []
    for i, mine in enumerate(sets):
        if all(len(mine & sets[j]) < SIMILAR * len(mine | sets[j]) for j in kept):
            kept.append(i)
    return kept


def by_hand(texts: Sequence[str]) -> list[int]:
    """Signatures by 128 linear hash functions, in 32 bands of 4; exact similarity of what shares a band."""
    prime = np.uint64(2**31 - 1)
    draws = np.random.default_rng(0).integers(1, int(prime), (2, 128), dtype=np.uint64)
    sets = [{zlib.crc32(each.encode()) for each in shingles(text)} for text in texts]
    bands: dict[tuple[int, bytes], list[int]] = {}
    kept = []
    for i, mine in enumerate(sets):
        values = np.array([*mine], np.uint64)[:, None]
        signature = ((values * draws[0] + draws[1]) % prime).min(0).reshape(32, 4)
        keys = [(band, row.tobytes()) for band, row in enumerate(signature)]
        candidates = {j for key in keys for j in bands.get(key, ())}
        if not any(len(mine & sets[j]) >= SIMILAR * len(mine | sets[j]) for j in candidates):
            kept.append(i)
            for key in keys:
                bands.setdefault(key, []).append(i)
    return kept


def edited(number: int, seed: int) -> list[str]:
    """Texts of 3 to 25 words, of which a third repeat one before with a word or two changed."""
    draw = random.Random(seed)
    words = ["".join(draw.choices("abcdefghij", k=draw.randint(2, 9))) for _ in range(300)]
    texts: list[str] = []
    for _ in range(number):
        if texts and draw.random() < 0.35:
            changed = draw.choice(texts).split()
            for _ in range(draw.randint(0, 2)):
                changed[draw.randrange(len(changed))] = draw.choice(words)
            texts.append(" ".join(changed))
        else:
            texts.append(" ".join(draw.choices(words, k=draw.randint(3, 25))))
    return texts


def test_of_many_texts_those_are_kept_that_every_pair_and_the_old_signatures_keep() -> None:
    for seed in range(2):
        texts = edited(600, seed)
        kept = without_near_duplicates(texts)
        assert kept == by_every_pair(texts) == by_hand(texts)
        assert 60 < 600 - len(kept) < 240


@settings(deadline=None)
@given(st.lists(st.text(max_size=12), max_size=12))
def test_short_and_empty_texts_in_any_script_are_compared_like_others(texts: list[str]) -> None:
    assert without_near_duplicates(texts) == by_every_pair(texts)
