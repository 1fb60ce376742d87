"""A folder as argilla 2's Dataset.to_disk writes it, with the labels as suggestions; argilla is not needed to write it.

`argilla.Dataset.from_disk(FOLDER, name=..., workspace=...)` makes the data set on a server: .argilla/dataset.json,
.argilla/settings.json and records.json (docs.argilla.io/latest/how_to_guides/import_export; read by argilla 2.8.0).
Places of spans are counted in code points, as Argilla's server does. It takes no empty list of labels, so a text that
no label fits has no suggestion and says so in its metadata.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xpoll.core.errors import InputError
from xpoll.core.files import replacing, write_json
from xpoll.core.outputs.output import Holds, LabelledSpan, OutputRow, TextSet, WrittenOutput

QUESTION = "label"
"""Name of what people answer."""
NONE_FITS = "no label fits"
FEWEST_VISIBLE = 3
"""Argilla shows at least so many options at once."""


def write(texts: TextSet, path: Path) -> WrittenOutput:
    """Writes settings and records.

    Raises:
        InputError: the path is a file, or a folder that holds something else.
        RunFolderError: it cannot be written.
    """
    hidden, records = path / ".argilla", path / "records.json"
    if path.exists() and (not path.is_dir() or (any(path.iterdir()) and not hidden.exists())):
        raise InputError(f"--argilla: {path} is there and holds no data set of Argilla", mend="name another folder")
    rows = without_text = 0
    write_json(hidden / "dataset.json", {"name": path.name, "guidelines": texts.question, "allow_extra_metadata": True})
    write_json(hidden / "settings.json", settings_of(texts))
    with replacing(records) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for row in texts.rows():
            if not row.text.strip():
                without_text += 1
                continue
            file.write(("[\n" if rows == 0 else ",\n") + json.dumps(record_of(row, texts), ensure_ascii=False))
            rows += 1
        file.write("\n]\n" if rows else "[]\n")
    note = f"in Python: argilla.Dataset.from_disk({str(path)!r}, name=..., workspace=...)"
    return WrittenOutput(path, rows, {"without a text": without_text}, note)


def settings_of(texts: TextSet) -> dict[str, Any]:
    """settings.json: fields, the question, and what records can be filtered by.

    Args:
        texts: The set.
    """
    fields = [
        {"name": name, "title": name, "required": True, "settings": {"type": "text", "use_markdown": False}}
        for name in ("text", "text_pair")[: 1 + texts.is_pair]
    ]
    question = {"name": QUESTION, "title": texts.question, "description": None, "required": True}
    return {
        "guidelines": texts.question,
        "questions": [question | {"settings": _question_settings(texts.holds, texts.labels)}],
        "fields": fields,
        "vectors": [],
        "metadata": [
            {"name": "score", "title": "score", "settings": {"type": "float"}},
            {"name": "split", "title": "split", "settings": {"type": "terms"}},
        ],
        "allow_extra_metadata": True,
        "distribution": {"strategy": "overlap", "min_submitted": 1},
    }


def _question_settings(holds: Holds, labels: Sequence[str]) -> dict[str, Any]:
    kind = {"label": "label_selection", "labels": "multi_label_selection", "spans": "span"}[holds]
    settings: dict[str, Any] = {"type": kind, "options": [{"value": label, "text": label} for label in labels]}
    if len(labels) >= FEWEST_VISIBLE:
        settings["visible_options"] = len(labels)
    if holds == "labels":
        settings["options_order"] = "natural"
    return settings | ({"field": "text", "allow_overlapping": False} if holds == "spans" else {})


def record_of(row: OutputRow, texts: TextSet) -> dict[str, Any]:
    """One record.

    Args:
        row: The text.
        texts: Its set.
    """
    fields = {"text": row.text} | ({} if row.text_pair is None else {"text_pair": row.text_pair})
    metadata: dict[str, Any] = {"split": "gold" if row.is_gold else "train"}
    suggestions: dict[str, Any] = {}
    if row.label is not None and (row.label or texts.holds == "spans"):
        suggestion: dict[str, Any] = {"value": _value(row), "agent": texts.made_by}
        if row.score is not None:
            metadata["score"] = row.score
            suggestion |= {"score": row.score} if isinstance(row.label, str) else {}
        suggestions = {QUESTION: suggestion}
    elif row.label is not None:
        metadata["abstained"] = NONE_FITS
    elif row.note:
        metadata["abstained"] = row.note
    return {
        "id": row.id,
        "fields": fields,
        "metadata": metadata,
        "suggestions": suggestions,
        "responses": {},
        "vectors": {},
    }


def _value(row: OutputRow) -> Any:
    if isinstance(row.label, str):
        return row.label
    return [
        {"start": each.start, "end": each.end, "label": each.label} if isinstance(each, LabelledSpan) else each
        for each in row.label or ()
    ]
