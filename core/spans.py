"""Spans of a text: what marks them, where a quote stands, and how two markings of a text are held against each other.

Positions are numbers of characters (Unicode code points), as Python and Arrow's readers count them; `end` is behind
the last one.
"""

import re
import unicodedata
from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from xpoll.core.f1 import F1Counts

TOKEN = re.compile(r"\w+|[^\w\s]")
"""What counts as a token where spans are scored by token: a word or number, or a mark that is neither."""

MOST_TRIED = 1000
"""Occurrences of a quote that are looked at for one that is whole or free; no text of words has so many in vain."""


class TextSpan(NamedTuple):
    """A part of a text with its label; `share` of the votes, or the student's probability, where there is one."""

    start: int
    end: int
    label: str
    share: float = 1.0

    def as_dict(self) -> dict[str, Any]:
        """As Arrow and JSON hold it."""
        return self._asdict()

    @property
    def place(self) -> tuple[int, int, str]:
        """Where it is and what: equal for spans that are the same."""
        return self.start, self.end, self.label


def as_spans(held: Iterable[Mapping[str, Any]]) -> list[TextSpan]:
    """Spans from how Arrow and JSON hold them."""
    return [
        TextSpan(int(each["start"]), int(each["end"]), str(each["label"]), float(each.get("share", 1))) for each in held
    ]


def trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """The same part of the text without white space around it; empty where it holds nothing else."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


class Quotes:
    """Finds the quotes of one answer in a text, each occurrence once.

    A quote stands at its first occurrence that no earlier quote of the answer has taken; the same quote again at the
    next one. Occurrences that are whole words come before those within a word or a combined character.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._starts: list[int] = []
        self._ends: dict[int, int] = {}
        self._behind: dict[tuple[str, bool], int] = {}

    def place(self, quote: str) -> tuple[int, int] | None:
        """Start and end of the quote; None where the text holds it nowhere that is left."""
        wanted = quote.strip()
        if not wanted or len(wanted) > len(self._text):
            return None
        for whole in (True, False):
            start, tried = self._behind.get((wanted, whole), 0), 0
            while tried < MOST_TRIED and (start := self._text.find(wanted, start)) >= 0:
                end, tried = start + len(wanted), tried + 1
                if (not whole or self._is_whole(start, end)) and self._is_free(start, end):
                    self._behind[wanted, whole] = end
                    self._take(start, end)
                    return start, end
                start += 1
            self._behind[wanted, whole] = len(self._text)
        return None

    def _is_whole(self, start: int, end: int) -> bool:
        text = self._text
        inside_before = start > 0 and _joined(text[start - 1], text[start])
        inside_behind = end < len(text) and _joined(text[end - 1], text[end])
        return not inside_before and not inside_behind

    def _is_free(self, start: int, end: int) -> bool:
        at = bisect_left(self._starts, start)
        before = at == 0 or self._ends[self._starts[at - 1]] <= start
        return before and (at == len(self._starts) or self._starts[at] >= end)

    def _take(self, start: int, end: int) -> None:
        insort(self._starts, start)
        self._ends[start] = end


def _joined(first: str, second: str) -> bool:
    """Whether two neighbours are of one word or one combined character."""
    if unicodedata.combining(second) or second in "\u200d\ufe0f" or first == "\u200d":
        return True
    return first.isalnum() and second.isalnum()


def exact_counts(
    said: Sequence[Sequence[TextSpan]], gold: Sequence[Sequence[TextSpan]], labels: Sequence[str]
) -> F1Counts:
    """Counts of spans that are right in label and both ends: (texts, labels)."""

    def hits(mine: Sequence[TextSpan], real: Sequence[TextSpan]) -> list[str]:
        return [label for _, _, label in {each.place for each in mine} & {each.place for each in real}]

    return _counts(said, gold, labels, hits)


def overlap_counts(
    said: Sequence[Sequence[TextSpan]], gold: Sequence[Sequence[TextSpan]], labels: Sequence[str]
) -> F1Counts:
    """Counts of spans that share a character with one of gold of the same label, each of them once: (texts, labels)."""
    return _counts(said, gold, labels, _overlapping)


def token_counts(
    texts: Sequence[str], said: Sequence[Sequence[TextSpan]], gold: Sequence[Sequence[TextSpan]], labels: Sequence[str]
) -> F1Counts:
    """Counts of tokens by the label of the span that holds them: (texts, labels)."""
    number = {label: i for i, label in enumerate(labels)}
    made = np.zeros((3, len(texts), len(labels)), int)
    for row, (text, mine, real) in enumerate(zip(texts, said, gold, strict=True)):
        if not mine and not real:
            continue
        for match in TOKEN.finditer(text):
            one, other = (_label_at(match.start(), match.end(), spans) for spans in (mine, real))
            for place, label in ((1, one), (2, other), (0, one if one == other else None)):
                if label is not None:
                    made[place, row, number[label]] += 1
    return F1Counts(*made)


def _label_at(start: int, end: int, spans: Sequence[TextSpan]) -> str | None:
    return next((span.label for span in spans if span.start < end and start < span.end), None)


def _overlapping(mine: Sequence[TextSpan], real: Sequence[TextSpan]) -> list[str]:
    found, free = [], sorted(real, key=lambda span: span.place)
    for span in sorted(mine, key=lambda span: span.place):
        for at, other in enumerate(free):
            if other.label == span.label and other.start < span.end and span.start < other.end:
                found.append(span.label)
                del free[at]
                break
    return found


def _counts(said: Any, gold: Any, labels: Sequence[str], hits: Any) -> F1Counts:
    number = {label: i for i, label in enumerate(labels)}
    made = np.zeros((3, len(said), len(labels)), int)
    for row, (mine, real) in enumerate(zip(said, gold, strict=True)):
        for place, names in enumerate((hits(mine, real), [s.label for s in mine], [s.label for s in real])):
            for name in names:
                made[place, row, number[name]] += 1
    return F1Counts(*made)
