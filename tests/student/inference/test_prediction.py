"""Predictions keep the order of their rows, and one bad row costs only itself."""

import argparse
import csv
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.student.conftest import Trained
from tests.support.toy import LABELS, TELLING, documents, make_encoder
from xpoll.core.errors import InputError, ModelError
from xpoll.scripts.commands import predict as command
from xpoll.student.drift import write_gold_answers
from xpoll.student.inference import predict
from xpoll.student.inference.model import StudentModel
from xpoll.student.inference.predict import predict_file

ADDED = ["label", "confidence", "probability_bad", "probability_fair", "probability_good", "error"]


def test_probabilities_sum_to_one_and_keep_the_order_of_texts_of_any_length(trained: Trained) -> None:
    student = StudentModel(trained.folder)
    texts = [document.text for document in documents(70, seed=3)] + ["loss " * 500, "gain"]
    together = student.probabilities(texts)
    alone = np.concatenate([student.probabilities([text]) for text in texts])
    assert together.shape == (72, 3) and together.dtype == np.float32
    np.testing.assert_allclose(together.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(together, alone, atol=1e-4)
    assert student.probabilities([]).shape == (0, 3)


def written(folder: Path, suffix: str, texts: list[Any], **more: list[Any]) -> str:
    path = folder / f"in.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.table({"id": list(range(len(texts))), "text": texts, **more}), path)
        return str(path)
    rows = [
        dict(zip(["id", "text", *more], cells, strict=True))
        for cells in zip(range(len(texts)), texts, *more.values(), strict=True)
    ]
    with path.open("w", newline="") as file:
        if suffix == "jsonl":
            file.writelines(json.dumps(row) + "\n" for row in rows)
        else:
            lines = csv.DictWriter(file, rows[0])
            lines.writeheader()
            lines.writerows(rows)
    return str(path)


def read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    with path.open(newline="") as file:
        return list(csv.DictReader(file)) if path.suffix == ".csv" else [json.loads(line) for line in file]


def test_a_file_of_another_kind_than_the_gold_rows_is_told_in_one_line(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    student = tmp_path / "student"
    shutil.copytree(trained.folder, student)
    gold = [document.text for document in documents(60, seed=5)]
    model = StudentModel(student)
    write_gold_answers(student, model.labels, model.probabilities(gold))

    def said(texts: list[str], *, as_json: bool) -> str:
        output = tmp_path / "out.csv"
        given = argparse.Namespace(
            student=student, input=written(tmp_path, "csv", texts), output=output, text_column="text"
        )
        given.__dict__.update(text_pair_column=None, runtime="pytorch", device=None, cascade=None, json=as_json)
        assert command.call(given) == 0
        return capsys.readouterr().out

    same = [document.text for document in documents(60, seed=6)]
    assert json.loads(said(same, as_json=True))["drift"]["alarm"] is None
    assert said(same, as_json=False).count("\n") == 1
    lines = said(["its loss today"] * 60, as_json=False).splitlines()
    assert len(lines) == 2 and lines[1].startswith("drift: the student's labels"), lines


@pytest.mark.parametrize("target", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_an_empty_text_in_the_middle_is_one_error_row(
    suffix: str, target: str, trained: Trained, tmp_path: Path
) -> None:
    source = written(tmp_path, suffix, ["its loss today", "gain", "  ", "flat", "a gain"])
    output = tmp_path / f"out.{target}"
    assert predict_file(trained.folder, source, output, text_column="text", batch_rows=2) == (
        5,
        1,
        "row 2: column 'text' is empty",
    )
    rows = read(output)
    assert [str(row["id"]) for row in rows] == ["0", "1", "2", "3", "4"]
    assert list(rows[0]) == ["id", "text", *ADDED]
    assert [row["label"] or None for row in rows] == ["bad", "good", None, "fair", "good"]
    assert [bool(row["error"]) for row in rows] == [False, False, True, False, False]
    assert rows[2]["error"] == "column 'text' is empty" and rows[2]["confidence"] in ("", None)
    assert float(rows[0]["confidence"]) == pytest.approx(float(rows[0]["probability_bad"]))
    assert sum(float(rows[0][f"probability_{label}"]) for label in LABELS) == pytest.approx(1, abs=1e-5)


def test_rows_that_cannot_be_read_say_why_and_the_rest_goes_on(trained: Trained, tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"text": "loss"}\n{"text": \n{"text": 7}\n{"other": [1]}\n{"text": null}\n{"text": "gain"}\n')
    output = tmp_path / "out.csv"
    assert predict_file(trained.folder, str(source), output, text_column="text").rows == 6
    rows = read(output)
    assert [row["label"] for row in rows] == ["bad", "", "", "", "", "good"]
    assert "no JSON" in rows[1]["error"]
    assert [row["error"] for row in rows[2:5]] == [
        "column 'text' is no text but int",
        "column 'text' is missing",
        "column 'text' is missing",
    ]
    assert rows[3]["other"] == "[1]", "a key that first comes late has a column too"


@pytest.mark.parametrize("target", ["csv", "jsonl", "parquet"])
def test_a_folder_with_named_label_numbers_is_an_input_like_a_file(
    target: str, trained: Trained, tmp_path: Path
) -> None:
    features = {"label": {"names": ["down", "up"], "_type": "ClassLabel"}}
    noted = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    (tmp_path / "set").mkdir()
    for i, text in enumerate(["loss", "gain"]):
        table = pa.table({"text": [text], "label": pa.array([i], pa.int64())}).replace_schema_metadata(noted)
        pq.write_table(table, tmp_path / f"set/train-{i:05d}-of-00002.parquet")
    output = tmp_path / f"out.{target}"
    assert predict_file(trained.folder, str(tmp_path / "set"), output, text_column="text").rows == 2
    assert [(row["input_label"], row["label"]) for row in read(output)] == [("down", "bad"), ("up", "good")]


def test_an_input_column_called_label_is_kept_under_another_name(trained: Trained, tmp_path: Path) -> None:
    source = written(tmp_path, "csv", ["loss", "gain"], label=["x", "y"], error=["e", "f"], Confidence=["1", "2"])
    predict_file(trained.folder, source, tmp_path / "out.csv", text_column="text")
    rows = read(tmp_path / "out.csv")
    assert [row["input_Confidence"] for row in rows] == ["1", "2"], "many readers do not tell case apart"
    assert [(row["input_label"], row["label"]) for row in rows] == [("x", "bad"), ("y", "good")]
    assert [(row["input_error"], row["error"]) for row in rows] == [("e", ""), ("f", "")]


def test_parquet_keeps_the_types_of_parquet(trained: Trained, tmp_path: Path) -> None:
    days = pa.array([None, 19_000, 6_628_000], pa.date32())  # the last one is in the year 20116
    until = pa.array([253_402_300_799_000_000, 0, None], pa.timestamp("us", "Europe/Berlin"))
    times = pa.array([1_000_000_001, 5_000, None], pa.time64("ns"))
    columns = {"day": days, "until": until, "time": times, "tags": [["a"], [], None]}
    source = written(tmp_path, "parquet", ["loss", "gain", "flat"], **columns)
    predict_file(trained.folder, source, tmp_path / "out.parquet", text_column="text", batch_rows=1)
    before, after = pq.read_table(source), pq.read_table(tmp_path / "out.parquet")
    assert after.select(before.column_names).equals(before)
    predict_file(trained.folder, source, tmp_path / "out.csv", text_column="text")
    rows = read(tmp_path / "out.csv")
    assert [row["day"] for row in rows] == ["", "2022-01-08", "20116-11-06"]
    assert rows[0]["time"] == "00:00:01.000000001"


def test_numbers_written_as_text_have_six_decimals(trained: Trained, tmp_path: Path) -> None:
    source = written(tmp_path, "csv", ["loss", "gain"])
    for suffix in ("csv", "jsonl", "parquet"):
        predict_file(trained.folder, source, tmp_path / f"out.{suffix}", text_column="text")
    exact = pq.read_table(tmp_path / "out.parquet")["confidence"].to_pylist()
    for suffix in ("csv", "jsonl"):
        assert [float(row["confidence"]) for row in read(tmp_path / f"out.{suffix}")] == [round(x, 6) for x in exact]


def test_bytes_that_are_no_text_do_not_break_any_output(trained: Trained, tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_bytes(b"note,text,other\nok,loss,1\n\xff,gain,\xfe\nok,flat,1\n")
    for suffix in ("csv", "jsonl", "parquet"):
        output = tmp_path / f"out.{suffix}"
        assert predict_file(trained.folder, str(source), output, text_column="text").rows == 3
        assert [bool(row["error"]) for row in read(output)] == [False, True, False]


def test_an_unknown_suffix_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"out.xlsx is no csv, jsonl, parquet file"):
        predict_file(tmp_path / "no-student", "no-input.csv", tmp_path / "out.xlsx", text_column="text")


def test_the_input_is_never_overwritten(trained: Trained, tmp_path: Path) -> None:
    source = written(tmp_path, "csv", ["loss"])
    with pytest.raises(InputError, match="is the input file itself"):
        predict_file(trained.folder, source, Path(source), text_column="text")


def test_a_missing_text_column_is_refused_naming_those_there_are(trained: Trained, tmp_path: Path) -> None:
    source = written(tmp_path, "csv", ["loss"])
    with pytest.raises(InputError, match="no column 'body'; its columns are: id, text"):
        predict_file(trained.folder, source, tmp_path / "out.csv", text_column="body")


def test_a_prediction_that_broke_off_goes_on_and_leaves_no_output_meanwhile(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, output = written(tmp_path, "csv", ["loss", "gain", "flat", "loss"]), tmp_path / "out.csv"
    output.write_text("old")
    real, calls = StudentModel.probabilities, []

    def failing(student: StudentModel, texts: list[str]) -> np.ndarray:
        calls.append(texts)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(student, texts)

    monkeypatch.setattr(predict.StudentModel, "probabilities", failing)
    with pytest.raises(KeyboardInterrupt):
        predict_file(trained.folder, source, output, text_column="text", batch_rows=2)
    assert output.read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"in.csv", "out.csv", ".out.csv.predicting"}
    assert predict_file(trained.folder, source, output, text_column="text", batch_rows=2).rows == 4
    assert [len(texts) for texts in calls] == [2, 2, 2], "the first batch is not computed again"
    assert [row["label"] for row in read(output)] == ["bad", "good", "fair", "bad"]
    assert {path.name for path in tmp_path.iterdir()} == {"in.csv", "out.csv"}


def test_what_was_kept_of_another_student_or_text_is_not_taken(trained: Trained, tmp_path: Path) -> None:
    from xpoll.student.inference.resumable import Kept

    numbers = iter(range(10))

    def compute(texts: Sequence[str]) -> np.ndarray:
        return np.full((len(texts), 3), next(numbers), np.float32)

    def first(student: Path, texts: list[str], runtime: str = "pytorch") -> float:
        return float(Kept(tmp_path / "out.csv", student, runtime).computed(texts, compute)[0, 0])

    assert first(trained.folder, ["a", "b"]) == first(trained.folder, ["a", "b"]) == 0
    assert first(trained.folder, ["ab"]) == 1
    assert first(trained.folder, ["a", "b"], "openvino") == 2
    assert first(tmp_path / "other", ["a", "b"]) == 3
    for kept in (tmp_path / ".out.csv.predicting").glob("*.npy"):
        kept.write_bytes(kept.read_bytes()[:40])
    assert first(trained.folder, ["ab"]) == 4, "a cut file is computed anew"


def test_a_folder_that_is_no_student_is_refused_in_one_line(trained: Trained, tmp_path: Path) -> None:
    import shutil

    encoder = make_encoder(tmp_path / "encoder")
    weightless = tmp_path / "weightless"
    shutil.copytree(trained.folder, weightless)
    (weightless / "model.safetensors").unlink()
    headless = tmp_path / "headless"
    shutil.copytree(trained.folder, headless)
    shutil.copy(encoder / "model.safetensors", headless)
    nameless = tmp_path / "nameless"
    nameless.mkdir()
    (nameless / "config.json").write_text(json.dumps({"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}))
    cases = {
        tmp_path / "absent": "holds no config.json",
        encoder: "names no labels",
        nameless: "names no labels",
        weightless: "cannot be loaded",
        headless: "no trained classification head",
    }
    for folder, reason in cases.items():
        with pytest.raises(ModelError, match=reason) as refused:
            StudentModel(folder)
        assert "\n" not in str(refused.value)


def test_every_label_of_the_toy_is_found(trained: Trained) -> None:
    student = StudentModel(trained.folder)
    best = student.probabilities(list(TELLING.values())).argmax(1)
    assert [student.labels[i] for i in best] == list(TELLING)
