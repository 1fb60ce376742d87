"""How far texts differ: distinct words and word pairs, BLEU against each other, and the distances of their embeddings.

All of these depend on how many texts there are, so arms are compared at equal counts.
"""

import random
import re
from collections.abc import Sequence

from xpoll.core.errors import ModelError
from xpoll.core.progress import say
from xpoll.core.results import Part
from xpoll.personas.diversity import diversity_of
from xpoll.personas.embedding import embed, find_encoder

MOST_TEXTS = 500
"""Texts that are compared at most: self-BLEU takes the square of it."""
_WORD = re.compile(r"\w+|[^\w\s]")


class TextDiversity(Part):
    """How far some texts differ. None where there are fewer than two, or the encoder is not installed."""

    texts: int
    """How many were compared."""
    distinct_1: float | None
    """Different words over words, 0 to 1. Source: J. Li et al., arXiv 1510.03055, as is distinct_2."""
    distinct_2: float | None
    """Different pairs of words over pairs, 0 to 1."""
    self_bleu: float | None
    """Mean BLEU-4 of each text against all others, 0 to 1; lower is more diverse. Source: Y. Zhu et al.,
    arXiv 1802.01886."""
    mean_distance: float | None
    """Mean cosine distance of the embeddings of two texts: 0 all alike, about 1 unrelated."""
    near_duplicate_share: float | None
    """Share of the texts that have another one within a cosine similarity of 0.9."""


def text_diversity(texts: Sequence[str], *, number: int | None = None, seed: int = 0) -> TextDiversity:
    """How far texts differ, of a random sample of them.

    Args:
        texts: The texts.
        number: How many to compare, so that arms are compared at equal counts; at most MOST_TEXTS.
        seed: Of the sample.
    """
    wanted = min(number or MOST_TEXTS, MOST_TEXTS)
    sample = random.Random(seed).sample(list(texts), wanted) if len(texts) > wanted else list(texts)
    if len(sample) < 2:
        return TextDiversity(
            texts=len(sample),
            distinct_1=None,
            distinct_2=None,
            self_bleu=None,
            mean_distance=None,
            near_duplicate_share=None,
        )
    words = [_WORD.findall(text.casefold()) for text in sample]
    distances = _distances(sample)
    return TextDiversity(
        texts=len(sample),
        distinct_1=_distinct(words, 1),
        distinct_2=_distinct(words, 2),
        self_bleu=round(self_bleu(words), 4),
        mean_distance=distances[0],
        near_duplicate_share=distances[1],
    )


def _distinct(texts: Sequence[Sequence[str]], length: int) -> float | None:
    runs = [tuple(words[i : i + length]) for words in texts for i in range(len(words) - length + 1)]
    return round(len(set(runs)) / len(runs), 4) if runs else None


def self_bleu(texts: Sequence[Sequence[str]]) -> float:
    """The mean BLEU-4 of each text against all others, 0 to 1.

    Args:
        texts: At least two, each as its words.
    """
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    smooth = SmoothingFunction().method1
    scores = [
        sentence_bleu([*texts[:i], *texts[i + 1 :]], words, smoothing_function=smooth) if words else 0.0
        for i, words in enumerate(texts)
    ]
    return float(sum(scores) / len(scores))


def _distances(texts: Sequence[str]) -> tuple[float | None, float | None]:
    try:
        find_encoder()
    except ModelError as error:
        say(f"embeddings are not compared: {error}")
        return None, None
    found = diversity_of(embed(texts))
    share = found.near_duplicate_share
    return found.mean_distance, None if share is None else round(share, 4)
