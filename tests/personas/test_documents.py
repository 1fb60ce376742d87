"""What documents and gold rows are made of their files, and what is refused before anything is asked."""

import json
from pathlib import Path
from typing import Any

import pytest

from xpoll.core.config.job import DocumentsConfig
from xpoll.core.errors import InputError
from xpoll.personas.documents import Inputs, read_inputs, several_gold_labels, stream_documents


def files(folder: Path, documents: list[str], gold: list[tuple[str, Any]]) -> DocumentsConfig:
    (folder / "d.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in documents))
    (folder / "g.jsonl").write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in gold))
    return DocumentsConfig(path=str(folder / "d.jsonl"), gold_path=str(folder / "g.jsonl"))


def gold_labels(config: DocumentsConfig, labels: list[str]) -> list[str | None]:
    return [row.gold_label for row in stream_documents(config, labels) if row.split == "gold"]


def inputs(config: DocumentsConfig, *examples: str) -> Inputs:
    return read_inputs(config, ["good", "bad"], example_texts=examples)


def test_gold_labels_are_read_as_answers_are(tmp_path: Path) -> None:
    written = [1, " 2 ", 3.0, "4", None]
    config = files(tmp_path, ["a"], [(f"text {i}", label) for i, label in enumerate(written)])
    assert gold_labels(config, ["1", "2", "3"]) == ["1", "2", "3", None, None]
    config = files(tmp_path, ["a"], [("x", "Positive"), ("y", "NEGATIVE "), ("z", "mixed")])
    assert gold_labels(config, ["negative", "positive"]) == ["positive", "negative", None]


@pytest.mark.parametrize(
    ("cell", "labels"),
    [
        ("a|b", ["a", "b"]),
        ('["a", "b"]', ["a", "b"]),
        (["a"], ["a"]),
        ("", []),
        (" | ", []),
        (None, []),
        ("[a", ["[a"]),
    ],
)
def test_a_cell_of_several_labels(cell: object, labels: list[str]) -> None:
    assert several_gold_labels(cell) == labels


def test_gold_rows_that_are_not_scored_are_counted_with_the_first_reason(tmp_path: Path) -> None:
    found = inputs(files(tmp_path, ["a", " ", "b"], [("x", "good"), ("y", "Fine"), ("z", "ok"), ("", "bad")]))
    assert found.rows == {"train": 3, "gold": 4}
    assert found.notes() == [
        "1 of 3 documents cannot be asked about; the first: row '1': column 'text' holds no text",
        "3 of 4 gold rows are not scored; the first: row 'gold-1': gold label 'Fine' is not one of ['good', 'bad']",
    ]


def test_a_file_of_which_no_row_can_be_used_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"documents\.gold_path: none of the 2 rows .*gold label 'yes' is not one of"):
        inputs(files(tmp_path, ["a"], [("x", "yes"), ("y", "no")]))
    with pytest.raises(InputError, match=r"documents\.path: none of the 2 rows .*column 'text' holds no text"):
        inputs(files(tmp_path, ["", " "], [("x", "good")]))


def test_documents_that_are_gold_rows_are_counted(tmp_path: Path) -> None:
    gold = [("Late again", "bad"), ("fine", "good"), ("late AGAIN", "bad")]
    found = inputs(files(tmp_path, ["late\n again", "new", "fine", "Fine"], gold))
    assert found.gold_in_train == 3
    assert found.notes() == ["3 documents are gold rows, too: they are polled and not trained on"]
    assert inputs(files(tmp_path, ["new"], gold)).notes() == []


def test_a_gold_row_that_prompts_show_the_answer_to_is_not_scored(tmp_path: Path) -> None:
    found = inputs(files(tmp_path, ["a"], [("Late again", "bad"), ("fine", "good")]), "late  again")
    (note,) = found.notes()
    assert note.startswith("1 of 2 gold rows are not scored")
    assert "task.examples" in note


def test_rows_that_cannot_be_read_do_not_share_an_id(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text('id,text\na,one\nb,"so\\" he said\nthanks\nc,"and\\" so on\nthanks\nd,four\n')
    config = DocumentsConfig(path=str(tmp_path / "d.csv"), id_column="id")
    found = list(stream_documents(config, ["good", "bad"]))
    assert [row.document_id for row in found if row.problem is None] == ["a", "d"]
    assert [row.document_id for row in found if row.problem] == ["b", "thanks", "c", "train-row-4"]
    assert read_inputs(config, ["good", "bad"]).unusable["train"].rows == 4


@pytest.mark.parametrize("document_id", ["xpoll-content-free-0", "xpoll-content-free-"])
def test_an_id_that_is_kept_for_probes_is_refused(tmp_path: Path, document_id: str) -> None:
    path = tmp_path / "documents.jsonl"
    rows = [{"document_id": "a", "text": "one"}, {"document_id": document_id, "text": "two"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match=rf"the id '{document_id}' begins with .* for probes -> give the row another"):
        inputs(DocumentsConfig(path=str(path), id_column="document_id"))
