"""Writes and reads the files that people label documents in: CSV, Label Studio tasks, Argilla records.

None of them shows the voted label, because people who see it tend to agree with it. The CSV is made for spreadsheets,
in votes/review/sheet.py.
"""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from xpoll.core.errors import InputError
from xpoll.core.files import json_value, replacing
from xpoll.core.sameness import named, same_label
from xpoll.votes.review.sheet import QUESTION, Answer, read_sheet, write_sheet


class ReviewAnswers(NamedTuple):
    """The usable answers of a filled form.

    Attributes:
        labels: Document id to label.
        skipped: The rows that were left out, each with the reason.
    """

    labels: dict[str, str]
    skipped: list[str]


def write_form(path: Path, form: str, rows: Sequence[Mapping[str, Any]], texts: Mapping[str, str]) -> None:
    """Writes the documents of a sample for people to label, atomically.

    Args:
        path: The file to write.
        form: One of FORMS.
        rows: Of the sample, with `document_id` and `weight`.
        texts: Document id to text.

    Raises:
        RunFolderError: the file cannot be written.
    """
    with replacing(path) as temporary:
        FORMS[form](temporary, rows, texts)


def read_answers(path: Path, documents: set[str], labels: Sequence[str]) -> ReviewAnswers:
    """The labels that people gave to the documents of a sample.

    A row that cannot be used is left out and named: a document that is not in the sample, a label that is
    not in the task, two different labels for one document.

    Args:
        path: The filled form: CSV, or an export of Label Studio or Argilla as JSON.
        documents: Ids of the sample.
        labels: The task's labels; case and surrounding spaces do not matter.

    Raises:
        InputError: the file cannot be read, or has no usable row.
    """
    try:
        rows = list(read_sheet(path, documents) if path.suffix.lower() == ".csv" else _items(path))
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        raise InputError(f"{path} cannot be read: {error}", mend="export it as CSV or JSON") from error
    found: dict[str, str] = {}
    skipped: list[str] = []
    torn: set[str] = set()
    for row in rows:
        if row.problem is None and row.label is None:
            continue
        label = same_label(row.label, labels)
        if row.problem is not None:
            skipped.append(f"{row.place}: {row.problem}")
        elif row.document_id not in documents:
            skipped.append(f"{row.place}: document {row.document_id!r} is not in the sample")
        elif label is None:
            skipped.append(f"{row.place}: {row.label!r} is not one of {named(labels)}")
        elif found.setdefault(row.document_id, label) != label:
            torn.add(row.document_id)
            skipped.append(f"{row.place}: document {row.document_id!r} has two different labels")
    for document_id in torn:
        del found[document_id]
    if not found:
        first = f"; {skipped[0]}" if skipped else ""
        raise InputError(
            f"{path} has no usable label in {len(rows)} rows{first}", mend="fill in the file of xpoll review sample"
        )
    return ReviewAnswers(found, skipped)


def _write_label_studio(path: Path, rows: Sequence[Mapping[str, Any]], texts: Mapping[str, str]) -> None:
    tasks = [
        {"data": {"document_id": row["document_id"], "text": texts[row["document_id"]], "weight": row["weight"]}}
        for row in rows
    ]
    path.write_text(json.dumps(tasks, indent=1), encoding="utf-8")


def _write_argilla(path: Path, rows: Sequence[Mapping[str, Any]], texts: Mapping[str, str]) -> None:
    records = [
        {
            "id": row["document_id"],
            "fields": {"text": texts[row["document_id"]]},
            "metadata": {"weight": row["weight"]},
            "suggestions": {},
            "responses": {},
            "vectors": {},
        }
        for row in rows
    ]
    path.write_text(json.dumps(records, indent=1), encoding="utf-8")


FORMS: dict[str, Callable[[Path, Sequence[Mapping[str, Any]], Mapping[str, str]], None]] = {
    "csv": write_sheet,
    "labelstudio": _write_label_studio,
    "argilla": _write_argilla,
}
"""Name of a form to its writer."""

SUFFIXES = {"csv": ".csv", "labelstudio": ".labelstudio.json", "argilla": ".argilla.json"}


def _items(path: Path) -> Iterator[Answer]:
    items = json_value(path.read_text(encoding="utf-8-sig"))
    if not isinstance(items, list):
        raise ValueError("it is no JSON list")
    for number, item in enumerate(items, 1):
        place = f"item {number}"
        if not isinstance(item, dict):
            yield Answer(place, "", None, "it is no JSON object")
        elif "annotations" in item:
            yield from _label_studio_item(place, item)
        elif f"{QUESTION}.responses" in item:
            yield from _argilla_flat_item(place, item)
        elif "responses" in item:
            yield from _argilla_item(place, item)
        else:
            yield _flat_item(place, item)


def _label_studio_item(place: str, item: dict[str, Any]) -> Iterator[Answer]:
    """Label Studio's JSON export: one answer per annotation, without cancelled ones."""
    try:
        document_id = str(item["data"]["document_id"])
        for annotation in item["annotations"]:
            if annotation.get("was_cancelled"):
                continue
            chosen = [r["value"]["choices"] for r in annotation["result"] if r.get("from_name") == QUESTION]
            flat = [label for choices in chosen for label in choices]
            problem = None if len(flat) < 2 else f"{len(flat)} labels in one annotation"
            yield Answer(place, document_id, str(flat[0]) if flat else None, problem)
    except (KeyError, TypeError, AttributeError) as error:
        yield Answer(place, "", None, f"it is no Label Studio task of this sample: no {error}")


def _argilla_item(place: str, item: dict[str, Any]) -> Iterator[Answer]:
    """Argilla's JSON export: the responses to the question, one per person."""
    try:
        for response in item["responses"].get(QUESTION, []):
            if response.get("status", _SUBMITTED) != _SUBMITTED:  # drafts and discarded answers are none
                continue
            yield Answer(place, str(item["id"]), str(response["value"]))
    except (KeyError, TypeError, AttributeError) as error:
        yield Answer(place, "", None, f"it is no Argilla record of this sample: no {error}")


_SUBMITTED = "submitted"


def _argilla_flat_item(place: str, item: dict[str, Any]) -> Iterator[Answer]:
    """Argilla's flat export: a list of answers, and a list of what became of each, under names of their own."""
    values, status = item[f"{QUESTION}.responses"] or [], item.get(f"{QUESTION}.responses.status") or []
    if not isinstance(values, list) or not isinstance(status, list) or "id" not in item:
        yield Answer(place, "", None, "it is no Argilla record of this sample")
        return
    for number, value in enumerate(values):
        if number >= len(status) or status[number] == _SUBMITTED:
            yield Answer(place, str(item["id"]), str(value))


def _flat_item(place: str, item: dict[str, Any]) -> Answer:
    """Label Studio's JSON-MIN export, or any list of objects with document_id and label."""
    label = item.get(QUESTION)
    if "document_id" not in item:
        return Answer(place, "", None, "it has no document_id")
    if label is not None and not isinstance(label, str):
        return Answer(place, str(item["document_id"]), None, f"its label is no text: {label!r}")
    return Answer(place, str(item["document_id"]), label or None)
