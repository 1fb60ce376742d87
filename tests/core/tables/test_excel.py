"""Sheets of Excel workbooks are read as other tables are; bad ones are one line."""

import datetime
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from pyarrow import fs

from tests.conftest import Xpoll
from xpoll.core.errors import InputError
from xpoll.core.tables import excel
from xpoll.core.tables.readers import count_rows, stream_rows

DAY = datetime.datetime(2026, 11, 29, 8, 30)


def write_book(path: Path, **sheets: list[list[Any]]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name.replace("_", " "))
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


@pytest.fixture
def book(tmp_path: Path) -> Path:
    first = [
        ["id", "text", None, "day", None],
        [1, "plain, \U0001f600\nand a line", None, DAY],
        [],
        [2, None],
        ["x", "=1+1", 0.5, None],
        [3, "behind", None, None, "too far"],
        [4, "#DIV/0!"],
    ]
    return write_book(tmp_path / "texts.xlsx", Sheet1=first, The_second=[["text", "text 2"], ["of another", True]])


def test_the_first_sheet_is_read_row_by_row(book: Path) -> None:
    rows = list(stream_rows(str(book), key="k", needs=("text",)))
    assert [row.number for row in rows] == [0, 1, 2, 3, 4], "an empty row is none"
    plain = {"id": 1, "text": "plain, \U0001f600\nand a line", "column 3": None, "day": "2026-11-29T08:30:00"}
    assert rows[0].values == plain
    assert rows[1].values["text"] is None and rows[1].problem is None
    assert rows[2].values["text"] is None, "nobody has computed the formula"
    assert rows[3].problem == "row has a cell behind the 4 columns of the header"
    assert rows[4].problem == "cell B7 holds the error #DIV/0!"
    assert count_rows(str(book), key="k") == 5


def test_another_sheet_stands_behind_a_number_sign(book: Path, xpoll: Xpoll) -> None:
    (row,) = stream_rows(f"{book}#The second", key="k")
    assert row.values == {"text": "of another", "text 2": True}
    done = xpoll("init", f"{book.name}#The second", "--labels", "a,b", cwd=book.parent)
    assert done.returncode == 0, done.stderr


def broken(path: Path, name: str, data: bytes) -> None:
    """The workbook with one part replaced."""
    with zipfile.ZipFile(path) as file:
        parts = {each: file.read(each) for each in file.namelist()}
    with zipfile.ZipFile(path, "w") as file:
        for each, old in parts.items():
            file.writestr(each, data if each == name else old)


def test_bad_workbooks_are_one_line_and_exit_code_2(book: Path, xpoll: Xpoll, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = book.parent
    (folder / "csv.xlsx").write_text("text\nhello\n")
    (folder / "cut.xlsx").write_bytes(book.read_bytes()[:-40])
    with zipfile.ZipFile(folder / "zip.xlsx", "w") as file:
        file.writestr("a", "b")
    write_book(folder / "empty.xlsx", Sheet1=[])
    write_book(folder / "header.xlsx", Sheet1=[["text"]])
    write_book(folder / "torn.xlsx", Sheet1=[["text"], ["a"]])
    broken(folder / "torn.xlsx", "xl/worksheets/sheet1.xml", b"<worksheet><sheetData><row><c t='s'><v>9")
    write_book(folder / "late.xlsx", Sheet1=[["text"], ["a"]])
    late = b"".join(b'<row r="%d"><c t="inlineStr"><is><t>text</t></is></c></row>' % i for i in range(1, 3000))
    names = b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'
    begin = names + b'<dimension ref="A1:A9"/><sheetData>'
    broken(folder / "late.xlsx", "xl/worksheets/sheet1.xml", begin + late)
    laughs = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 12))
    bomb = f'<!DOCTYPE x [<!ENTITY a0 "lol">{laughs}]>'.encode() + begin + late.replace(b"text", b"&a11;")
    write_book(folder / "bomb.xlsx", Sheet1=[["text"], ["a"]])
    broken(folder / "bomb.xlsx", "xl/worksheets/sheet1.xml", bomb + b"</sheetData></worksheet>")
    for name, said in {
        "bomb.xlsx": "it is no whole Excel workbook",
        "csv.xlsx": "cannot be read: it is no Excel workbook (.xlsx), or is one with a password",
        "cut.xlsx": "it is no Excel workbook",
        "zip.xlsx": "it is no whole Excel workbook",
        "empty.xlsx": "has no rows",
        "header.xlsx": "has no rows",
        "torn.xlsx": "it is no whole Excel workbook",
        "late.xlsx": "cannot be read to its end: sheet 'Sheet1' is damaged",
        "texts.xlsx#Third": "it has no sheet 'Third'; its sheets are: Sheet1, The second",
        "texts.xlsx#The second": "has no column 'body'; its columns are: text, text 2",
        "gone.xlsx#One": "gone.xlsx#One does not exist",
    }.items():
        job = folder / "job.toml"
        column = "body" if "body" in said else "text"
        job.write_text(
            f'[documents]\npath = "{name}"\ntext_column = "{column}"\n[task]\nlabels = ["a", "b"]\n'
            '[engine]\nbackend = "simulated"\n'
        )
        done = xpoll("plan", job, cwd=folder)
        assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1, (name, done.stderr)
    monkeypatch.setattr(excel, "MOST_BYTES", 1000)
    with pytest.raises(InputError, match="unpacks to .* bytes; save it as CSV"):
        list(stream_rows(str(book), key="k"))


def test_a_workbook_of_any_file_system_is_read(book: Path) -> None:
    inside = fs.SubTreeFileSystem(str(book.parent), fs.LocalFileSystem())
    with excel.open_sheet(inside, "texts.xlsx#The second") as rows:
        assert [row.cells for row in rows] == [["text", "text 2"], ["of another", True]]
