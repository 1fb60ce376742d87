"""Reads the records of a CSV file strictly: what is quoted wrongly costs its own line, never the lines behind it.

A quotation mark that is not closed would make one cell of all that follows, and text behind a closing one would be
joined to the cell by guess. Either makes a problem of the line in which its record begins, and reading resumes with
the next line. So does a mark that was closed by chance, by one that ends another row, where the cells do not fit the
header or the lines in between are numbered on as rows.
"""

import csv
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

MOST_CHARACTERS = 2**24
"""Most characters of a record of several lines: what a quotation mark that is not closed can hold in memory."""

_LONGEST_CELL = 2**31 - 1


class Record(NamedTuple):
    """One record: its cells, the line it begins in, counted from 1, and what is wrong with its quotation marks."""

    cells: list[str]
    line: int
    problem: str | None = None


class _Lines:
    """Lines of a text, which can be had again from the second line of the current record on."""

    def __init__(self, text: Iterable[str]) -> None:
        self.record: list[str] = []
        self.first = 1
        self._text = iter(text)
        self._again: deque[str] = deque()
        self._characters = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._characters > MOST_CHARACTERS:
            raise csv.Error(f"the quotation mark is not closed within {MOST_CHARACTERS} characters")
        line = self._again.popleft() if self._again else next(self._text)
        self.record.append(line)
        self._characters += len(line)
        return line

    def begin(self, lines: int) -> None:
        """A record begins, `lines` behind where the last one began; what was read beyond that is read again."""
        self._again.extendleft(reversed(self.record[lines:]))
        self.first += lines
        self.record, self._characters = [], 0


def csv_records(text: Iterable[str], *, delimiter: str = ",") -> Iterator[Record]:
    """The records of a CSV file in order, without empty lines; the first one is the header.

    Args:
        text: Its lines with their ends, as a file opened with `newline=""` gives them.
        delimiter: What stands between two cells.
    """
    csv.field_size_limit(_LONGEST_CELL)  # of the whole process, so it is set where it is needed and not once
    lines = _Lines(text)
    reader = csv.reader(lines, strict=True, delimiter=delimiter)
    width = 0
    while True:
        try:
            cells = next(reader, None)
        except csv.Error:
            yield _broken(lines, delimiter)
            lines.begin(1)
            continue
        if cells is None:
            return
        if width and len(lines.record) > 1 and (len(cells) != width or _numbered_on(lines.record, width, delimiter)):
            yield _broken(lines, delimiter)
            lines.begin(1)
            continue
        first, width = lines.first, width or len(cells)
        lines.begin(len(lines.record))
        if cells:
            yield Record(cells, first)


def _numbered_on(record: list[str], width: int, delimiter: str) -> bool:
    """Whether each line of a record is a row by itself, and their first cells count up."""
    rows = [line.split(delimiter) for line in record]
    numbers = [row[0].strip() for row in rows]
    if min(map(len, rows)) < width or not all(number.isdecimal() for number in numbers):
        return False
    return [int(number) for number in numbers] == list(range(int(numbers[0]), int(numbers[0]) + len(rows)))


def _broken(lines: _Lines, delimiter: str) -> Record:
    """The record's first line, cut at every delimiter: the first cells of it are mostly whole."""
    cells = lines.record[0].rstrip("\r\n").split(delimiter)
    return Record(cells, lines.first, f"line {lines.first}: a quotation mark is not closed, or before its cell ends")
