"""What people save with a spreadsheet is read, or each row says what happened to it."""

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest

from xpoll.core.errors import InputError
from xpoll.votes.review.forms import read_answers, write_form
from xpoll.votes.review.sheet import MOST_UNITS

LABELS = ["good", "bad"]
TEXTS = {
    "0007": "Gr\u00f6\u00dfe passt; gut, sagt er",
    "7": "caf\u00e9 \u201cSud\u201d",
    "1234567890123456789": "two\nlines",
    "=HYPERLINK(1)": "=1+1",
    "-3": "\uff1d1+1",
}


def form(folder: Path, texts: dict[str, str] = TEXTS) -> list[list[str]]:
    """The cells of a form, as a spreadsheet reads them, each labelled good."""
    rows = [{"document_id": document_id, "weight": 1.5} for document_id in texts]
    write_form(folder / "form.csv", "csv", rows, texts)
    cells = list(csv.reader(io.StringIO((folder / "form.csv").read_bytes().decode("utf-8-sig"), newline="")))
    label = cells[0].index("label")
    return [cells[0], *([*row[:label], "good", *row[label + 1 :]] for row in cells[1:])]


def saved(folder: Path, cells: list[list[str]], encoding: str, delimiter: str) -> Path:
    with (folder / "filled.csv").open("w", encoding=encoding, newline="", errors="replace") as file:
        csv.writer(file, delimiter=delimiter).writerows(cells)
    return folder / "filled.csv"


def as_number(cell: str) -> str:
    """What Excel keeps of a cell that looks like a number."""
    return (
        f"{float(cell):.14E}" if cell.isdecimal() and len(cell) > 15 else str(int(cell)) if cell.isdecimal() else cell
    )


@pytest.mark.parametrize("changed", [str, as_number])
@pytest.mark.parametrize(
    ("encoding", "delimiter"),
    [
        ("utf-8-sig", ","),
        ("utf-8", ";"),
        ("utf-8-sig", ";"),
        ("cp1252", ","),
        ("cp1252", ";"),
        ("utf-16", "\t"),
    ],
)
def test_a_form_is_read_however_it_was_saved(
    tmp_path: Path, encoding: str, delimiter: str, changed: Callable[[str], str]
) -> None:
    cells = [[changed(cell) for cell in row] for row in form(tmp_path)]
    answers = read_answers(saved(tmp_path, cells, encoding, delimiter), set(TEXTS), LABELS)
    assert answers.labels == dict.fromkeys(TEXTS, "good")
    assert answers.skipped == []


def test_a_spreadsheet_sees_the_accents_and_computes_nothing(tmp_path: Path) -> None:
    cells = form(tmp_path)
    assert (tmp_path / "form.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    assert not [cell for row in cells for cell in row if cell[:1] in "=+-@\uff1d" and cell]
    assert len({row[-1] for row in cells}) == len(cells)


def test_an_id_that_lost_its_zeros_is_not_taken_for_another_one(tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text("document_id,label\n7,good\nx,bad\n")  # without the names of rows
    answers = read_answers(tmp_path / "old.csv", {"7", "0007", "x"}, LABELS)
    assert answers.labels == {"x": "bad"}
    assert "whose zeros a spreadsheet took off" in answers.skipped[0]
    assert read_answers(tmp_path / "old.csv", {"7", "x"}, LABELS).labels == {"7": "good", "x": "bad"}


@pytest.mark.parametrize("letter", ["x", "\U0001f600"])
def test_a_long_text_is_cut_to_what_a_cell_holds_and_the_form_is_read_back(tmp_path: Path, letter: str) -> None:
    csv.field_size_limit(131_072)
    texts = {"a": letter * 140_000, "b": "short"}
    cells = form(tmp_path, texts)
    assert max(len(cell.encode("utf-16-le")) // 2 for row in cells for cell in row) < 32_767
    kept = MOST_UNITS // len(letter.encode("utf-16-le")) * 2
    assert cells[1][1].endswith(f"[... {140_000 - kept} more characters are not shown]")
    uncut = [cells[0], [cells[1][0], texts["a"], *cells[1][2:]], cells[2]]
    assert read_answers(saved(tmp_path, uncut, "utf-8", ","), set(texts), LABELS).labels == dict.fromkeys("ab", "good")


def test_a_row_that_is_quoted_wrongly_costs_itself(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text('document_id,text,label\na,"open,good\nb,fine,bad\n')
    answers = read_answers(tmp_path / "f.csv", {"a", "b"}, LABELS)
    assert answers.labels == {"b": "bad"}
    assert answers.skipped == ["row 2: line 2: a quotation mark is not closed, or before its cell ends"]


@pytest.mark.parametrize("content", ["", "document_id;text\n", "id\tlabel\n1\tgood\n"])
def test_a_file_without_the_columns_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "f.csv").write_text(content)
    with pytest.raises(InputError, match="it has no column '(document_id|label)'"):
        read_answers(tmp_path / "f.csv", {"1"}, LABELS)


def test_drafts_and_discarded_answers_of_argilla_are_none(tmp_path: Path) -> None:
    flat = """[{"id": "a", "text": "x", "label.responses": ["bad", "good"],
        "label.responses.status": ["draft", "submitted"]},
        {"id": "b", "text": "y", "label.responses": ["bad"], "label.responses.status": ["discarded"]}]"""
    nested = """[{"id": "a", "responses": {"label": [{"value": "bad", "status": "draft"},
        {"value": "good", "status": "submitted"}]}}]"""
    for content in (flat, nested):
        (tmp_path / "a.json").write_text(content)
        assert read_answers(tmp_path / "a.json", {"a", "b"}, LABELS).labels == {"a": "good"}
