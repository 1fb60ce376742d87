"""Tasks for Label Studio, with the labels as predictions that people confirm or correct, and its labelling interface.

Tasks have the form of labelstud.io/guide/predictions: `data`, and `predictions` with `model_version`, `score` and a
`result` whose `from_name` and `to_name` are names of the interface. Places of spans are counted in code points, as
Label Studio does (HumanSignal/label-studio pull request 1559).
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from xpoll.core.files import replacing, write_text
from xpoll.core.outputs.output import Holds, LabelledSpan, OutputRow, TextSet, WrittenOutput

CONTROL = "label"
"""Name of what people answer with, in the interface and in results."""


def write(texts: TextSet, path: Path) -> WrittenOutput:
    """Writes a JSON list of tasks, a line each, and beside it the interface as XML."""
    rows = without_text = 0
    interface = path.with_suffix(".xml")
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for row in texts.rows():
            if not row.text.strip():
                without_text += 1
                continue
            file.write(("[\n" if rows == 0 else ",\n") + json.dumps(task_of(row, texts.made_by), ensure_ascii=False))
            rows += 1
        file.write("\n]\n" if rows else "[]\n")
    write_text(interface, labelling_interface(texts.labels, texts.holds, is_pair=texts.is_pair) + "\n")
    note = f"paste {interface} into Settings, Labeling Interface, Code of the project before importing"
    return WrittenOutput(path, rows, {"without a text": without_text}, note)


def labelling_interface(labels: Sequence[str], holds: Holds = "label", *, is_pair: bool = False) -> str:
    """The labelling interface of tasks, as XML.

    Args:
        labels: The labels.
        holds: What people give to a text.
        is_pair: Whether a task has a second text.
    """
    group, each, more = {
        "label": ("Choices", "Choice", ""),
        "labels": ("Choices", "Choice", ' choice="multiple"'),
        "spans": ("Labels", "Label", ""),
    }[holds]
    texts = "".join(f'<Text name="{name}" value="${name}"/>' for name in ("text", "text_pair")[: 1 + is_pair])
    options = "".join(f"<{each} value={quoteattr(label)}/>" for label in labels)
    return f'<View>{texts}<{group} name="{CONTROL}" toName="text"{more}>{options}</{group}></View>'


def task_of(row: OutputRow, made_by: str) -> dict[str, Any]:
    """One task.

    Args:
        row: The text.
        made_by: Whose labels they are.
    """
    data = {"document_id": row.id, "text": row.text, "split": "gold" if row.is_gold else "train"}
    if row.text_pair is not None:
        data["text_pair"] = row.text_pair
    if row.label is None:
        return {"data": data | ({"abstained": row.note} if row.note else {})}
    prediction: dict[str, Any] = {"model_version": made_by, "result": _result(row)}
    if row.score is not None:
        prediction["score"] = row.score
    return {"data": data, "predictions": [prediction]}


def _result(row: OutputRow) -> list[dict[str, Any]]:
    names = {"from_name": CONTROL, "to_name": "text"}
    given = (row.label,) if isinstance(row.label, str) else row.label or ()
    spans = [each for each in given if isinstance(each, LabelledSpan)]
    if spans:
        return [
            {
                **names,
                "id": f"span-{number}",
                "type": "labels",
                "value": {
                    "start": span.start,
                    "end": span.end,
                    "text": row.text[span.start : span.end],
                    "labels": [span.label],
                },
            }
            for number, span in enumerate(spans)
        ]
    return [{**names, "id": "label", "type": "choices", "value": {"choices": list(given)}}] if given else []
