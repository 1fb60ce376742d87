"""Files are streamed; a bad row does not touch its neighbours."""

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xpoll.core.errors import InputError
from xpoll.core.tables.readers import count_rows, stream_rows


def rows(path: Path, *needs: str) -> list[tuple[int, object, str | None]]:
    return [
        (row.number, row.values.get("text"), row.problem) for row in stream_rows(str(path), key="k.path", needs=needs)
    ]


def test_the_three_kinds_of_file_give_the_same_rows(tmp_path: Path) -> None:
    texts = ["plain", 'with "quotes", and commas', "two\nlines", "umlaut \u00e4, emoji \U0001f600"]
    (tmp_path / "a.csv").write_text(
        "id,text\n" + "".join(f'{i},"{t.replace(chr(34), chr(34) * 2)}"\n' for i, t in enumerate(texts))
    )
    table = pa.table({"id": list(range(4)), "text": texts})
    pq.write_table(table, tmp_path / "a.parquet")
    import json

    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"id": i, "text": t}) + "\n" for i, t in enumerate(texts)))
    for name in ("a.csv", "a.parquet", "a.jsonl"):
        assert [text for _, text, _ in rows(tmp_path / name, "text")] == texts, name
        assert count_rows(str(tmp_path / name), key="k") == 4


def test_compressed_files_are_read(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "a.csv.gz", "wt") as file:
        file.write("text\nhello\n")
    assert rows(tmp_path / "a.csv.gz") == [(0, "hello", None)]


def test_a_byte_order_mark_is_not_part_of_the_first_column(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbftext\nhello\n")
    assert rows(tmp_path / "a.csv", "text") == [(0, "hello", None)]


def test_bad_rows_come_out_in_their_place_with_a_problem(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"id,text\n1,good\n2,too,many\n3\n4,\xff\xfe\n5,also good\n")
    found = rows(tmp_path / "a.csv", "text")
    assert [number for number, _, _ in found] == [0, 1, 2, 3, 4]
    assert [problem for _, _, problem in found] == [
        None,
        "row has 3 cells where the header has 2",
        "row has 1 cells where the header has 2",
        "column 'text' is not UTF-8",
        None,
    ]
    (tmp_path / "a.jsonl").write_text('{"text": "good"}\n{"text": \n[1]\n{"text": "also good"}\n')
    found = rows(tmp_path / "a.jsonl", "text")
    assert [text for _, text, problem in found if problem is None] == ["good", "also good"]
    assert str(found[1][2]).startswith("line is no JSON: ")
    assert found[2][2] == "line is no JSON object"


def test_hostile_json_is_its_row_s_problem(tmp_path: Path) -> None:
    deep = "[" * 100_000
    (tmp_path / "a.jsonl").write_text('{"text": "good"}\n' + deep + '\n{"text": "\\ud800"}\n{"text": "also good"}\n')
    found = rows(tmp_path / "a.jsonl", "text")
    assert [text for _, text, problem in found if problem is None] == ["good", "also good"]
    assert str(found[1][2]).startswith("line is no JSON: maximum recursion depth")
    assert found[2][1:] == ("\N{REPLACEMENT CHARACTER}", "column 'text' is not UTF-8")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "", "has no rows"),
        ("a.csv", "id,text\n", "has no rows"),
        ("a.jsonl", "\n\n", "has no rows"),
        ("a.csv", "id,body\n1,x\n", "has no column 'text'; its columns are: id, body"),
        ("a.csv", "id;text\n1;good, and late\n", "its columns are: id;text; its cells are separated by semicolons"),
        ("a.csv", "id\ttext\n1\ta, b\n", "its cells are separated by tabs"),
        ("a.csv", "text,id,text\nx,1,y\n", "has 2 columns 'text'"),
        ("a.csv", ",".join(f"c{i}" for i in range(3000)) + "\n1\n", "c18, c19 and 2980 more"),
        ("a.jsonl", '[\n {\n "text": "x"\n }\n]\n', "the file is a JSON list"),
        ("a.jsonl", '[{"text": "x"}]\n', "line is no JSON object"),
        ("a.jsonl", '[\n{"body": "x"}\n{"body": "y"}\n]\n', "has no column 'text'; its columns are: body"),
        ("a.txt", "hello", "is no arrow, csv, jsonl, parquet, xlsx file"),
        ("a.parquet", "hello", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(tmp_path: Path, name: str, content: str, said: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError) as raised:
        rows(tmp_path / name, "text")
    assert said in str(raised.value), raised.value
    assert "k.path" in str(raised.value)
    assert len(str(raised.value)) < 1000


def test_a_file_in_utf_16_is_named_so(tmp_path: Path) -> None:
    for encoding in ("utf-16", "utf-16-be"):
        text = "\ufeff" if encoding == "utf-16-be" else ""
        (tmp_path / "a.csv").write_text(f"{text}id\ttext\n1\t\u00e4\n", encoding=encoding)
        with pytest.raises(InputError, match="UTF-16; save it as UTF-8"):
            rows(tmp_path / "a.csv", "text")


def test_a_record_without_a_text_costs_only_itself(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"title": "x"}\n{"text": "y"}\n{"title": "z"}\n')
    assert rows(tmp_path / "a.jsonl", "text") == [(0, None, None), (1, "y", None), (2, None, None)]


def test_every_file_of_a_pattern_is_to_have_the_columns(tmp_path: Path) -> None:
    (tmp_path / "a-1.csv").write_text("text\nx\n")
    (tmp_path / "a-2.csv").write_text("body\ny\n")
    with pytest.raises(InputError, match=r"a-2\.csv has no column 'text'"):
        rows(tmp_path / "a-*.csv", "text")


def test_cells_beyond_the_header_are_kept_in_the_last_column(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,text\n1,late, and rude, too\n")
    assert rows(tmp_path / "a.csv", "text") == [(0, "late, and rude, too", "row has 4 cells where the header has 2")]


@pytest.mark.parametrize(
    "odd",
    [
        pa.array([9_000, 6_628_000], pa.date32()),
        pa.array([0, -(10**15)], pa.timestamp("s")),
        pa.array([253_402_300_799_000_000, 0], pa.timestamp("us", "Europe/Berlin")),
        pa.array([0, 10**18], pa.duration("s")),
        pa.array([[6_628_000], None], pa.list_(pa.date32())),
        pa.array([{"day": 6_628_000}, None], pa.struct({"day": pa.date32()})),
        pa.array([None, 86_399_999_999_999], pa.time64("ns")),
    ],
)
def test_what_python_cannot_hold_in_another_column_touches_no_text(tmp_path: Path, odd: pa.Array) -> None:
    pq.write_table(pa.table({"text": ["a", "b"], "odd": odd}), tmp_path / "a.parquet")
    assert rows(tmp_path / "a.parquet", "text") == [(0, "a", None), (1, "b", None)]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"k\.path: .*nowhere\.csv does not exist"):
        rows(tmp_path / "nowhere.csv")
