"""No file of texts, whatever is in it, is more than its rows' problems or one line of error."""

import gzip
import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.hostile import DEEP, ROTTEN, anything, examples, holds, json_bytes, mutated, word
from xpoll.core.tables.readers import column_types, count_rows, stream_rows

TABLE = pa.table(
    {
        "text": [f"text {i} ä" * (i % 9) for i in range(40)],
        "id": list(range(40)),
        "label": pa.array(["a", "b", None, "a"] * 10).dictionary_encode(),
        "words": [["x", "yy"], [], None, ["z"]] * 10,
        "day": pa.array(range(40), pa.date32()),
    },
    metadata={b"huggingface": b'{"info": {"features": {"id": {"_type": "ClassLabel", "names": ["n0", "n1"]}}}}'},
)


def written(kind: str) -> bytes:
    sink = io.BytesIO()
    match kind:
        case "parquet":
            pq.write_table(TABLE, sink, row_group_size=20)
        case "stream.arrow":
            with pa.ipc.new_stream(sink, TABLE.schema) as writer:
                writer.write_table(TABLE, max_chunksize=20)
        case "file.arrow":
            with pa.ipc.new_file(sink, TABLE.schema) as writer:
                writer.write_table(TABLE, max_chunksize=20)
        case "csv":
            sink.write(b"text,id\n" + b"".join(b'"text, ""%d""",%d\n' % (i, i) for i in range(40)))
        case "jsonl.gz":
            sink.write(gzip.compress(b"".join(json_bytes({"text": str(i), "id": i}) + b"\n" for i in range(40))))
    return sink.getvalue()


KINDS = ["parquet", "stream.arrow", "file.arrow", "csv", "jsonl.gz"]
FILES = {kind: written(kind) for kind in KINDS}


def read_all(path: str) -> None:
    for row in stream_rows(path, key="documents.path", needs=("text",)):
        assert row.problem or "text" in row.values or path.endswith(("jsonl", "gz"))


def every_reader(folder: Any, name: str, content: bytes) -> None:
    path = folder.mktemp("texts") / name
    path.write_bytes(content)
    for reader in (read_all, lambda path: count_rows(path, key="k"), lambda path: column_types(path, key="k")):
        holds(lambda read=reader: read(str(path)), size=max(len(content), 10_000))


@pytest.mark.parametrize("kind", KINDS)
@examples(25)
@given(data=st.data())
def test_a_file_that_was_damaged(tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject) -> None:
    every_reader(tmp_path_factory, f"texts.{kind}", data.draw(mutated(FILES[kind])))


@examples(30)
@given(
    content=st.binary(max_size=80), kind=st.sampled_from(["csv", "jsonl", "parquet", "arrow", "csv.gz", "jsonl.zst"])
)
@example(DEEP, "jsonl")
@example(b'text\n"' + b"a\n" * 5_000, "csv")
@example(b"text\n" + b'"' * 100_000, "csv")
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, content: bytes, kind: str) -> None:
    every_reader(tmp_path_factory, f"texts.{kind}", content)


@examples(30)
@given(rows=st.lists(st.dictionaries(st.just("text") | word, anything, max_size=3), min_size=1, max_size=4))
def test_any_records(tmp_path_factory: pytest.TempPathFactory, rows: list[Any]) -> None:
    every_reader(tmp_path_factory, "texts.jsonl", b"\n".join(map(json_bytes, rows)))


def stream(metadata: bytes) -> bytes:
    sink = io.BytesIO()
    table = pa.table({"text": ["a"], "id": [0]}, metadata={b"huggingface": metadata, b"xpoll.kept_without": metadata})
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


FEATURE = {"info": {"features": {"id": {"_type": "ClassLabel", "names": 3}}}}


@examples(20)
@given(content=st.sampled_from(ROTTEN) | anything.map(json_bytes))
@example(json_bytes(FEATURE))
@example(json_bytes(FEATURE["info"]))
@example(json_bytes({"info": [1]}))
@example(json_bytes({"splits": 3, "_data_files": 3}))
@example(json_bytes({"splits": [1], "_data_files": [{"filename": 1}, {}, 3]}))
def test_what_the_datasets_library_notes_beside_a_file_and_in_it(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    every_reader(tmp_path_factory, "texts.arrow", stream(content))
    for noted in ("dataset_info.json", "state.json", "dataset_dict.json"):
        folder = tmp_path_factory.mktemp("saved")
        (folder / "texts.arrow").write_bytes(stream(b"{}"))
        (folder / noted).write_bytes(content)
        for path in (str(folder), str(folder / "texts.arrow")):
            holds(lambda path=path: read_all(path), size=len(content))


def test_json_that_is_no_number_is_read_or_a_problem(tmp_path_factory: pytest.TempPathFactory) -> None:
    content = json.dumps({"text": "a", "n": float("nan"), "m": 10**400}).encode()
    every_reader(tmp_path_factory, "texts.jsonl", content)
