"""Two texts that are labelled together, as one: with a mark between them that neither holds.

What reads, compares and shows texts needs to know nothing of pairs; prompts and students split them again.
"""

MARK = "\u241e"
"""Unicode's picture of a record separator; in a text of a pair it becomes a space."""
_BETWEEN = f"\n{MARK}\n"


def joined(first: str, second: str) -> str:
    """The pair as one text."""
    return _BETWEEN.join(text.replace(MARK, " ") for text in (first, second))


def is_pair(text: str) -> bool:
    """Whether the text is such a pair."""
    return text.count(_BETWEEN) == 1


def parts_of(text: str) -> tuple[str, str]:
    """The two texts of a pair; the second is empty where the text is none."""
    first, _, second = text.partition(_BETWEEN)
    return first, second
