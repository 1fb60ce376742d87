"""Small files that unpack to much, and what a command makes of each: exit code, what it says, memory at its peak.

As a program: `bombs.py FOLDER` makes the files there and runs every command on each, within a limit of memory.
"""

import contextlib
import gzip
import io
import json
import resource
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

MIB = 2**20
FULL_MIB = 48
"""What most of them unpack to."""
LIMIT_BYTES = 4 * 2**30
SIMULATED = ("--quiet", "--set", "engine.backend=simulated")
_SHEET = b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
_HEADER = b'<row r="1"><c r="A1" t="inlineStr"><is><t>text</t></is></c></row>'
_STRINGS = b'<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'
JOB = """
[documents]
path = "{documents}"
{gold}
[task]
labels = ["a", "b"]
[panel]
{personas}
[engine]
backend = "simulated"
"""


class Outcome(NamedTuple):
    """What a command made of a bomb."""

    place: str
    bomb: str
    size: int
    code: int
    said: str
    peak_mib: int
    seconds: float


def packed(path: Path, head: bytes, unit: bytes, tail: bytes = b"") -> None:
    """A gzip file of a repeated unit."""
    with gzip.open(path, "wb") as file:
        _write(file, head, unit, tail)


def _write(file: Any, head: bytes, unit: bytes, tail: bytes) -> None:
    file.write(head)
    for _ in range(FULL_MIB):
        file.write(unit * (MIB // len(unit)))
    file.write(tail)


def workbook(path: Path, part: str, head: bytes, unit: bytes, tail: bytes) -> None:
    """A workbook of which one part is a repeated unit."""
    import openpyxl

    book, small = openpyxl.Workbook(), io.BytesIO()
    book.active.append(["text"])
    book.active.append(["a"])
    book.save(small)
    with zipfile.ZipFile(small) as parts, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        for name in parts.namelist():
            if name != part:
                bomb.writestr(name, parts.read(name))
        with bomb.open(part, "w") as file:
            _write(file, head, unit, tail)


def tables(folder: Path, column: str) -> Iterator[Path]:
    """A bomb of each kind of file and of each way in which it can be one, whose rows have this column."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    name, row = column.encode(), json.dumps({column: "a"}).encode() + b"\n"
    inner = json.dumps({column: "a", "more": 0}).encode().partition(b"0")[0]
    for path, head, unit, tail in (
        ("a line of spaces.csv.gz", name + b"\na\n", b" ", b"\n"),
        ("commas.csv.gz", name + b"\na\n", b",", b"\n"),
        ("an open quotation mark.csv.gz", name + b'\na\n"', b"a" * 65535 + b"\n", b""),
        ("a line of spaces.jsonl.gz", row, b" ", b"\n"),
        ("a long text.jsonl.gz", row + inner + b'"', b"a", b'"}\n'),
        ("nested.jsonl.gz", row + inner, b"[", b"\n"),
        ("empty lists.jsonl.gz", row + inner + b"[", b"[],", b"0]}\n"),
    ):
        packed(folder / path, head, unit, tail)
        yield folder / path
    just_short = gzip.compress(row + inner + b"[" + b"[]," * (2**24 // 3 - 40) + b"0]}\n")
    (folder / "as long as a line may be.jsonl.gz").write_bytes(just_short)
    yield folder / "as long as a line may be.jsonl.gz"

    text = pa.DictionaryArray.from_arrays(pa.array([0] * 300, pa.int32()), ["a" * (8 * MIB)])
    lists = pa.array([[0] * (2**24 + 1)], pa.list_(pa.int8()))
    for path, table in {
        "a text in each row.parquet": pa.table({column: text}),
        "a long list.parquet": pa.table({column: ["a"], "more": lists}),
    }.items():
        pq.write_table(table, folder / path, compression="zstd")
        yield folder / path

    sheet, strings = "xl/worksheets/sheet1.xml", "xl/sharedStrings.xml"
    begin, end = _SHEET + _HEADER, b"</sheetData></worksheet>"
    cell = b'<row r="2"><c r="A2" t="inlineStr"><is><t>'
    for path, part, head, unit, tail in (
        ("a long cell.xlsx", sheet, begin + cell, b"a", b"</t></is></c></row>" + end),
        ("a row of empty cells.xlsx", sheet, begin + b'<row r="2">', b"<c/>", b"</row>" + end),
        ("empty rows.xlsx", sheet, begin, b"<row/>", end),
        ("shared texts.xlsx", strings, _STRINGS, b"<si><t>a</t></si>", b"</sst>"),
    ):
        workbook(folder / path, part, head.replace(b">text<", b">" + name + b"<"), unit, tail)
        yield folder / path
    far = begin + cell.replace(b'r="2"', b'r="99999999999"') + b"a</t></is></c></row>" + end
    workbook(folder / "a far row.xlsx", sheet, far.replace(b">text<", b">" + name + b"<"), b" ", b"")
    with zipfile.ZipFile(folder / "a far row.xlsx") as file:
        parts = {each: file.read(each).rstrip() for each in file.namelist()}
    with zipfile.ZipFile(folder / "a far row.xlsx", "w") as file:
        for each, content in parts.items():
            file.writestr(each, content)
    yield folder / "a far row.xlsx"


def forms(folder: Path) -> Iterator[Path]:
    """Forms of a review that are no forms: packed, nested, one line."""
    packed(folder / "form.csv", b"document_id,label\n", b",", b"\n")
    yield folder / "form.csv"
    (folder / "nested.json").write_bytes(b"[" * MIB)
    yield folder / "nested.json"
    (folder / "one line.csv").write_bytes(b"document_id,label\n" + b"a" * (8 * MIB))
    yield folder / "one line.csv"


def _job(folder: Path, *, documents: str = "few.csv", gold: str = "", personas: str = "") -> list[str]:
    (folder / "job.toml").write_text(JOB.format(documents=documents, gold=gold, personas=personas))
    return ["plan", "job.toml"]


def commands(folder: Path) -> dict[str, tuple[str, Callable[[Path], list[str]]]]:
    """Name of each place that reads a file of the user's, to its column and the command that reads a bomb there."""
    return {
        "documents": ("text", lambda bomb: _job(folder, documents=bomb.name)),
        "gold": ("text", lambda bomb: _job(folder, gold=f'gold_path = "{bomb.name}"\nlabel_column = "text"')),
        "personas": ("persona", lambda bomb: _job(folder, personas=f'persona_file = "{bomb.name}"')),
        "init": ("text", lambda bomb: ["init", bomb.name, "--labels", "a,b", "--output", "made.toml", "--force"]),
        "batch": ("text", lambda bomb: ["batch", bomb.name, f"{bomb.name}.out", "--model", "m", *SIMULATED]),
    }


def peak_mib() -> int:
    """Most memory of this process since the last call of `forget_peak`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM:"))) // 1024


def forget_peak() -> int:
    """From now on `peak_mib` is of what comes; returns what is held now."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_mib()


def outcome(place: str, bomb: Path, arguments: list[str]) -> Outcome:
    """Runs a command in this process."""
    from xpoll.scripts.cli import main

    said, before, begun_s = io.StringIO(), forget_peak(), time.monotonic()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        try:
            code = main(arguments)
        except Exception as error:
            said.write(f"Traceback: {type(error).__name__}: {error}")
            code = 1
    spent_s = round(time.monotonic() - begun_s, 1)
    return Outcome(place, bomb.name, bomb.stat().st_size, code, said.getvalue(), peak_mib() - before, spent_s)


def run_all(folder: Path) -> Iterator[Outcome]:
    """Every bomb at every place that takes its kind of file."""
    (folder / "few.csv").write_text("text,label\none,a\ntwo,b\n")
    _job(folder)
    places = commands(folder)
    for column in sorted({column for column, _ in places.values()}):
        for bomb in tables(folder, column):
            for place, (own, command) in places.items():
                if own == column and (place != "batch" or ".jsonl" in bomb.name):
                    yield outcome(place, bomb, command(bomb))


if __name__ == "__main__":
    import os

    import xpoll.engine.run  # noqa: F401  so that what is imported counts for nobody

    resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))
    os.chdir(sys.argv[1])
    for each in run_all(Path.cwd()):
        sys.stdout.write(json.dumps(each._asdict()) + "\n")
        sys.stdout.flush()
