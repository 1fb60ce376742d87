"""Texts that nobody wrote, made of those that are there, for an ensemble to label and one student to learn from.

An ensemble agrees with itself on texts that it was trained on, and says little there that the votes did not.
What it makes of other texts is what a student of it has to learn; where there are none, texts with masked words and
texts begun by one and ended by another stand in (Jiao et al. 2020, "TinyBERT", for augmentation; Beyer et al. 2022,
"Knowledge distillation: A good teacher is patient and consistent", for answers to the augmented text itself).
"""

import random
from collections.abc import Sequence

MASKED = (0.1, 0.3)
"""Share of the words of a text that are masked, from and to."""
CUT = (0.3, 0.9)
"""Share of a text behind which it is cut, from and to."""
_FEWEST_WORDS = 3


def variants_of(texts: Sequence[str], *, times: int, mask: str | None, seed: int) -> list[str]:
    """`times` texts for each text: by chance with words masked, or its beginning with the end of another.

    Args:
        texts: At least one.
        times: How many are made of each.
        mask: The encoder's token for a hidden word; where it has none, words are left out.
        seed: Of all draws.
    """
    draw = random.Random(f"variants {seed}")
    made = []
    for _ in range(times):
        for text in texts:
            if draw.random() < 0.5:
                made.append(_masked(text, mask, draw))
            else:
                made.append(_joined(text, draw.choice(texts), draw))
    return made


def _masked(text: str, mask: str | None, draw: random.Random) -> str:
    words, between = _words(text)
    share = draw.uniform(*MASKED)
    kept = [mask if draw.random() < share else word for word in words]
    return between.join(word for word in kept if word is not None) or text


def _joined(first: str, second: str, draw: random.Random) -> str:
    beginning, between = _words(first)
    end, _ = _words(second)
    until = max(1, int(len(beginning) * draw.uniform(*CUT)))
    return between.join([*beginning[:until], *end[int(len(end) * draw.uniform(*CUT)) :]])


def _words(text: str) -> tuple[list[str], str]:
    """The words and what joins them; the characters of a text that is not written in words."""
    words = text.split()
    return (words, " ") if len(words) >= _FEWEST_WORDS else (list(text), "")
