"""Folders as the Hugging Face `datasets` library and its hub have them, and patterns; made here with pyarrow."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from xpoll.core.errors import InputError
from xpoll.core.tables.folders import files_at
from xpoll.core.tables.readers import column_types, count_rows, stream_rows

FEATURES = {
    "text": {"dtype": "string", "_type": "Value"},
    "label": {"names": ["bad", "good"], "_type": "ClassLabel"},
    "tags": {"feature": {"names": ["x", "y"], "_type": "ClassLabel"}, "_type": "List"},
}
NOTED = {b"huggingface": json.dumps({"info": {"features": FEATURES}}).encode()}


def table(begin: int, end: int, *, noted: bool = True) -> pa.Table:
    numbers = range(begin, end)
    columns = {
        "text": [f"text {i}" for i in numbers],
        "label": pa.array([i % 3 - 1 for i in numbers], pa.int64()),
        "tags": [[i % 2] for i in numbers],
        "source": pa.array([f"s{i % 2}" for i in numbers]).dictionary_encode(),
    }
    return pa.table(columns).replace_schema_metadata(NOTED if noted else None)


def write_arrow(path: Path, rows: pa.Table, form: Callable[..., Any] = pa.ipc.new_stream) -> None:
    with form(str(path), rows.schema) as writer:
        writer.write_table(rows, max_chunksize=1000)


def save_to_disk(folder: Path, shards: list[pa.Table]) -> None:
    folder.mkdir(parents=True)
    names = [f"data-{i:05d}-of-{len(shards):05d}.arrow" for i in range(len(shards))]
    for name, shard in zip(names, shards, strict=True):
        write_arrow(folder / name, shard)
    state = {"_data_files": [{"filename": name} for name in names], "_fingerprint": "f", "_split": None}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text(json.dumps({"features": FEATURES, "license": ""}))


def read(path: object) -> list[tuple[int, dict[str, object]]]:
    return [(row.number, row.values) for row in stream_rows(str(path), key="documents.path")]


EXPECTED = [
    (i, {"text": f"text {i}", "label": [None, "bad", "good"][i % 3], "tags": [i % 2], "source": f"s{i % 2}"})
    for i in range(9000)
]


@pytest.mark.parametrize("noted", [True, False])
def test_a_saved_dataset_is_read_with_the_names_of_its_labels(tmp_path: Path, noted: bool) -> None:
    shards = [table(0, 5000, noted=noted), table(5000, 5000, noted=noted), table(5000, 9000, noted=noted)]
    save_to_disk(tmp_path / "saved set", shards)
    assert read(tmp_path / "saved set") == EXPECTED
    assert read(f"file://{tmp_path}/saved set/") == EXPECTED, "a URI with a space in it"
    assert count_rows(str(tmp_path / "saved set"), key="k") == 9000
    assert column_types(str(tmp_path / "saved set"), key="k") == {
        "text": pa.string(),
        "label": pa.string(),
        "tags": pa.list_(pa.int64()),
        "source": pa.string(),
    }


def test_one_arrow_file_of_either_form_is_read(tmp_path: Path) -> None:
    write_arrow(tmp_path / "stream.arrow", table(0, 9000))
    write_arrow(tmp_path / "footer.arrow", table(0, 9000), pa.ipc.new_file)
    assert read(tmp_path / "stream.arrow") == read(tmp_path / "footer.arrow") == EXPECTED


def test_of_several_splits_one_is_to_be_named(tmp_path: Path) -> None:
    save_to_disk(tmp_path / "dict/train", [table(0, 10)])
    save_to_disk(tmp_path / "dict/test", [table(0, 5)])
    (tmp_path / "dict/dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(InputError) as raised:
        read(tmp_path / "dict")
    assert "holds the splits train, test -> name one: " in str(raised.value)
    assert f"{tmp_path}/dict/test" in str(raised.value)
    assert read(tmp_path / "dict/test") == EXPECTED[:5]


def test_parquet_files_of_a_repository_are_one_table_if_they_are_of_one_split(tmp_path: Path) -> None:
    data = tmp_path / "repository/data"
    data.mkdir(parents=True)
    (tmp_path / "repository/.cache").mkdir()
    pq.write_table(table(0, 3), tmp_path / "repository/.cache/old.parquet")
    (tmp_path / "repository/README.md").write_text("---\n---\n")
    for i in range(3):
        pq.write_table(table(3000 * i, 3000 * (i + 1)), data / f"train-{i:05d}-of-00003.parquet")
    assert read(tmp_path / "repository") == EXPECTED
    assert count_rows(str(tmp_path / "repository"), key="k") == 9000
    pq.write_table(table(0, 5), data / "test-00000-of-00001.parquet")
    with pytest.raises(InputError) as raised:
        read(tmp_path / "repository")
    named = f"{tmp_path}/repository/data/test-*.parquet, {tmp_path}/repository/data/train-*.parquet"
    assert str(raised.value).endswith(f"holds 2 splits or tables -> name one: {named}")
    assert read(data / "train-*.parquet") == EXPECTED
    assert read(f"file://{data}/test-*.parquet") == EXPECTED[:5]


def test_parts_of_a_table_in_a_folder_are_one_table(tmp_path: Path) -> None:
    (tmp_path / "texts.parquet").mkdir()
    for i in range(2):
        pq.write_table(table(10 * i, 10 * (i + 1)), tmp_path / f"texts.parquet/part-{i}.parquet")
    assert read(tmp_path / "texts.parquet") == EXPECTED[:20]
    assert count_rows(str(tmp_path / "texts.parquet"), key="k") == 20


def test_a_pattern_names_files_of_every_kind(tmp_path: Path) -> None:
    for i in range(3):
        (tmp_path / f"[{i}].csv").write_text(f"text\nfirst of {i}\nsecond of {i}\n")
    values = [row["text"] for _, row in read(tmp_path / "[*].csv")]
    assert values == [f"{place} of {i}" for i in range(3) for place in ("first", "second")]
    assert [number for number, _ in read(tmp_path / "[*].csv")] == list(range(6))


def test_any_file_system_of_pyarrow_will_do(tmp_path: Path) -> None:
    save_to_disk(tmp_path / "saved", [table(0, 5), table(5, 10)])
    below = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    files = files_at(below, "saved", key="k", shown="s3://bucket/saved")
    assert files == ["saved/data-00000-of-00002.arrow", "saved/data-00001-of-00002.arrow"]
    pq.write_table(table(0, 5), tmp_path / "saved/train.parquet")
    (tmp_path / "saved/state.json").unlink()
    assert files_at(below, "saved/", key="k", shown="s3://bucket/saved") == ["saved/train.parquet"]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("empty", "has no rows"),
        ("indices", "was saved with the order of its rows in a file of its own -> save it again"),
        ("lost", "cannot be read: "),
        ("broken", "state.json is no JSON object"),
        ("nothing", "is a folder without a saved dataset or Parquet files -> name a file"),
        ("nothing/*.csv", "no file matches"),
        ("nowhere/*.csv", "no file matches"),
        ("mixed/*", "names files of several kinds"),
        ("cut.csv.gz", "cannot be read to its end"),
    ],
)
def test_what_cannot_be_used_is_one_line(tmp_path: Path, path: str, said: str) -> None:
    import gzip

    save_to_disk(tmp_path / "empty", [])
    save_to_disk(tmp_path / "indices", [table(0, 5)])
    (tmp_path / "indices/state.json").write_text('{"_data_files": [], "_indices_data_files": [{"filename": "i"}]}')
    save_to_disk(tmp_path / "lost", [table(0, 5)])
    (tmp_path / "lost/data-00000-of-00001.arrow").unlink()
    save_to_disk(tmp_path / "broken", [])
    (tmp_path / "broken/state.json").write_text("[]")
    (tmp_path / "nothing").mkdir()
    (tmp_path / "mixed").mkdir()
    (tmp_path / "mixed/a.csv").write_text("text\na\n")
    (tmp_path / "mixed/a.jsonl").write_text('{"text": "a"}\n')
    whole = gzip.compress(b"text\n" + b"".join(b"%d\n" % i for i in range(100_000)))
    (tmp_path / "cut.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError) as raised:
        read(tmp_path / path)
    assert said in str(raised.value), raised.value


def test_a_text_in_arrow_that_is_not_utf_8_touches_its_row_only(tmp_path: Path) -> None:
    texts = pa.array([b"good", b"\xff\xfe", b"also good"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"id": [1, 2, 3], "text": texts}), tmp_path / "a.parquet")
    rows = list(stream_rows(str(tmp_path / "a.parquet"), key="k"))
    assert [row.problem for row in rows] == [None, "column 'text' is not UTF-8", None]
    assert [row.values["id"] for row in rows] == [1, 2, 3]
