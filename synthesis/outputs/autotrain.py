"""CSV as AutoTrain takes it: `text,target` for classification, `prompt,text` for a causal model.

Of a run with labels the labelled rows are written; of one without, those with a reply, as a chat in plain words.
"""

import csv
from pathlib import Path

from xpoll.core.files import replacing
from xpoll.synthesis.outputs.output import KeptTexts, WrittenOutput


def write(kept: KeptTexts, path: Path) -> WrittenOutput:
    """Writes a header and a line a row."""
    labelled = any(text.label is not None for text in kept.texts())
    rows = left_out = 0
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "target") if labelled else ("prompt", "text"))
        for text in kept.texts():
            row = (text.text, text.label) if labelled else (text.prompt or "", text.completion or text.text)
            if labelled and text.label is None:
                left_out += 1
                continue
            writer.writerow(row)
            rows += 1
    return WrittenOutput(path, rows, left_out)
