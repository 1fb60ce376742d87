"""CSV as AutoTrain takes it.

One label per text: `text,target` (huggingface.co/docs/autotrain/tasks/text_classification_regression). Spans:
`tokens,tags`, both as Python lists, with tags B-LABEL, I-LABEL and O (.../tasks/token_classification). Texts without
labels: `prompt,text`. Several labels per text have no form there. A cell that a spreadsheet would compute as a
formula begins with an apostrophe.
"""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from xpoll.core.files import replacing
from xpoll.core.outputs.output import NO_LABEL, LabelledSpan, OutputRow, TextSet, WrittenOutput, to_train_on
from xpoll.core.spreadsheets import as_data_cell

_WORD = re.compile(r"\w+|[^\w\s]")


def write(texts: TextSet, path: Path) -> WrittenOutput:
    """Writes a header and a line a row."""
    rows, left_out = 0, Counter[str]()
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_HEADERS[texts.holds])
        for row in texts.rows() if texts.holds == "nothing" else to_train_on(texts, left_out):
            if texts.holds != "nothing" and row.label is None:
                left_out[NO_LABEL] += 1
                continue
            writer.writerow(map(as_data_cell, _cells(row)))
            rows += 1
    return WrittenOutput(path, rows, left_out)


_HEADERS = {"label": ("text", "target"), "spans": ("tokens", "tags"), "nothing": ("prompt", "text")}


def _cells(row: OutputRow) -> tuple[str, str]:
    if isinstance(row.label, tuple):
        tokens, tags = tagged(row.text, [span for span in row.label if isinstance(span, LabelledSpan)])
        return str(tokens), str(tags)
    return (row.as_one_text, row.label) if row.label is not None else (row.prompt or "", row.completion or row.text)


def tagged(text: str, spans: Sequence[LabelledSpan]) -> tuple[list[str], list[str]]:
    """The words and marks of a text, and the tag of each.

    A word of which a part is in a span has its tag; of two spans, that of the first.

    Args:
        text: The text.
        spans: Its spans, in order, which do not overlap.
    """
    tokens: list[str] = []
    tags: list[str] = []
    begun: set[LabelledSpan] = set()
    for word in _WORD.finditer(text):
        span = next((span for span in spans if span.start < word.end() and word.start() < span.end), None)
        tokens.append(word.group())
        tags.append("O" if span is None else f"{'I' if span in begun else 'B'}-{span.label}")
        begun.update({span} if span else ())
    return tokens, tags
