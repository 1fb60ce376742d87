"""When two labels are the same, and two texts: one rule for answers, gold files, review forms and the config."""

import unicodedata
from collections.abc import Iterable, Sequence

_MOST_NAMED = 10


def folded(word: str) -> str:
    """Equal for words that differ in case, spacing or how accents are encoded (Unicode's canonical caseless match)."""
    if word.isascii():
        return " ".join(word.casefold().split())
    decomposed = unicodedata.normalize("NFD", unicodedata.normalize("NFD", word).casefold())
    return " ".join(decomposed.split())


def word_of(value: object) -> str | None:
    """A value as a label may be written; labels like 1 to 5 or true and false come as numbers and booleans."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int) else None


def same_label(value: object, labels: Sequence[str]) -> str | None:
    """The one of `labels` that a value names, as it stands or folded; None where there is none, or more than one."""
    word = word_of(value)
    if word is None or word in labels:
        return word
    wanted = folded(word)
    found = [label for label in labels if folded(label) == wanted]
    return found[0] if len(found) == 1 else None


def named(labels: Sequence[str]) -> str:
    """The labels for a message, the first ten of them."""
    more = f" and {len(labels) - _MOST_NAMED} more" if len(labels) > _MOST_NAMED else ""
    return f"{list(labels[:_MOST_NAMED])}{more}"


def text_digest(text: str) -> int:
    """64 bits of a text, equal in one process for texts that differ in case, spacing or encoding of accents alone."""
    return hash(folded(text))


def first_of_same(texts: Iterable[str]) -> list[int]:
    """(texts,): the number of the first text that is the same, which is its own for a text that is new."""
    first: dict[int, int] = {}
    return [first.setdefault(text_digest(text), number) for number, text in enumerate(texts)]
