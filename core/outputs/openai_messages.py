"""JSONL of chat messages, as OpenAI's fine-tuning and TRL's SFTTrainer take it.

A prompt with its reply is a turn each; a labelled text is a turn whose answer is the label, a JSON list of labels, or
a JSON list of {"text", "label"} in the order of the text, as panels are asked for them. The form is that of
developers.openai.com/docs/guides/distillation: one {"messages": [...]} a line, at least FEWEST of them.
"""

import json
from collections import Counter
from pathlib import Path

from xpoll.core.files import replacing
from xpoll.core.outputs.output import LabelledSpan, OutputRow, TextSet, WrittenOutput, to_train_on

FEWEST = 10
"""Lines that OpenAI's fine-tuning takes at least."""


def write(texts: TextSet, path: Path) -> WrittenOutput:
    """Writes one JSON object a line: {"messages": [...]}."""
    rows, left_out = 0, Counter[str]()
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for row in to_train_on(texts, left_out):
            file.write(json.dumps({"messages": messages_of(row, texts.instruction)}, ensure_ascii=False) + "\n")
            rows += 1
    return WrittenOutput(path, rows, left_out, f"OpenAI takes files of {FEWEST} rows or more" if rows < FEWEST else "")


def messages_of(row: OutputRow, instruction: str) -> list[dict[str, str]]:
    """The turns of a row that has a reply or a label.

    Args:
        row: The row.
        instruction: What a model is told that answers with labels.
    """
    if row.prompt is not None and row.completion is not None:
        asked, answer, before = row.prompt, row.completion, []
    else:
        asked, answer, before = row.as_one_text, _answer(row), [{"role": "system", "content": instruction}]
    return [*before, {"role": "user", "content": asked}, {"role": "assistant", "content": answer}]


def _answer(row: OutputRow) -> str:
    if isinstance(row.label, str):
        return row.label
    named = [
        {"text": row.text[each.start : each.end], "label": each.label} if isinstance(each, LabelledSpan) else each
        for each in row.label or ()
    ]
    return json.dumps(named, ensure_ascii=False)
