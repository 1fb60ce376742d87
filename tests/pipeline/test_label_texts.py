"""Labels of each kind of task in the forms of other tools: what is written is what was voted, and is read back."""

import ast
import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from tests.conftest import Xpoll
from tests.student.test_hub import Hub
from xpoll.core.config.file import load_config
from xpoll.core.files import write_json
from xpoll.core.outputs.output import Output, TextSet, WrittenOutput
from xpoll.core.outputs.registry import OUTPUTS
from xpoll.core.pairs import joined
from xpoll.core.record_files import write_records
from xpoll.core.records import AnyRecord, Consensus, SetConsensus
from xpoll.core.run_folder import RunFolder
from xpoll.core.span_records import SpanConsensus
from xpoll.core.tables.readers import stream_rows
from xpoll.votes.tasks.registry import kind_of

EMOJI = "\U0001f680 to New York, =now"
FORMULA = '=HYPERLINK("http://x")'


def one(number: int, text: str, label: str | None, split: Any = "train", **more: Any) -> Consensus:
    name = f"d{number}"
    return Consensus(name, split, text, label, (0.75, 0.25, 0), 0.75, 4, 0, 0.75, None if label else "tie", **more)


def several(number: int, text: str, labels: tuple[str, ...] | None, split: Any = "train", **more: Any) -> SetConsensus:
    name = f"d{number}"
    return SetConsensus(name, split, text, labels, (0.9, 0.6, 0.1), (), 4, None if labels is not None else "x", **more)


def spans(*found: tuple[int, int, str]) -> tuple[dict[str, Any], ...]:
    return tuple({"start": start, "end": end, "label": label, "share": 0.8} for start, end, label in found)


ROWS: dict[str, list[AnyRecord]] = {
    "single": [
        one(0, 'plain, with "quotes"\nand a line', "good"),
        one(1, FORMULA, "bad|odd"),
        one(2, "torn", None),
        one(3, "known", "bad|odd", "gold", gold_label="good"),
        one(4, "a person's", "meh", voted_label="good"),
        one(5, " \n", None),
    ],
    "multi": [
        several(0, FORMULA, ("good", "meh")),
        several(1, "none fits", ()),
        several(2, "unread", None),
        several(3, "known", ("good",), "gold", gold_labels=("meh",)),
    ],
    "spans": [
        SpanConsensus("d0", "train", EMOJI, spans((5, 13, "good"), (15, 19, "meh")), (), (), 4),
        SpanConsensus("d1", "train", "nothing here", (), (), (), 4),
        SpanConsensus("d2", "train", "unread", None, (), (), 0, abstained="no readable vote"),
        SpanConsensus("d3", "gold", "known", (), (), (), 4, gold_spans=spans((0, 5, "good"))),
    ],
}
ROWS["ordinal"] = ROWS["single"]


def write_run(folder: Path, kind: str, rows: Iterable[AnyRecord], *, more: str = "", panel: bool = True) -> RunFolder:
    """A run of that kind whose labels are these."""
    folder.mkdir(parents=True, exist_ok=True)
    labels = ["good", "bad|odd", "meh"] if kind != "multi" else ["good", "bad", "meh"]
    job = folder / "job.toml"
    job.write_text(
        f'[job]\nrun_folder = "run"\n[documents]\npath = "texts.csv"\n{more}\n'
        f'[task]\nkind = "{kind}"\nlabels = {json.dumps(labels)}\nquestion = "What <is> it?"\n'
    )
    run, config = RunFolder(folder / "run"), load_config(job)
    write_json(run.config, config.resolved())
    write_records(run.labels, rows, kind_of(kind).label_schema)
    if panel:
        write_json(run.panel, {"personas": [{"persona_id": "a"}, {"persona_id": "b"}]})
    return run


FORMS = {"datasets": "set", "openai": "m.jsonl", "autotrain": "t.csv", "labelstudio": "tasks.json", "argilla": "arg"}


@pytest.mark.parametrize("kind", ROWS)
def test_each_kind_is_written_in_each_form_that_has_a_place_for_it(kind: str, tmp_path: Path, xpoll: Xpoll) -> None:
    write_run(tmp_path, kind, ROWS[kind])
    forms = {name: file for name, file in FORMS.items() if (kind, name) != ("multi", "autotrain")}
    options = [part for name, file in forms.items() for part in (f"--{name}", file)]
    done = xpoll("export", "run", *options, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    outputs = json.loads(done.stdout)["outputs"]
    trained = 2 if kind in ("multi", "spans") else 3
    assert outputs["openai"]["rows"] == trained
    assert outputs["openai"]["left_out"]["of the gold rows, which nothing is to be trained on"] == 1
    assert outputs["datasets"]["rows"] == trained + 1
    assert (
        outputs["labelstudio"]["rows"]
        == outputs["argilla"]["rows"]
        == len([row for row in ROWS[kind] if row[2].strip()])
    )
    check_openai(tmp_path / "m.jsonl", kind)
    check_label_studio(tmp_path / "tasks.json", kind)
    check_argilla(tmp_path / "arg", kind)
    check_datasets(tmp_path / "set", kind)
    if kind != "multi":
        check_autotrain(tmp_path / "t.csv", kind)
    again = xpoll("export", "run", *options, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "OpenAI takes files of 10 rows or more" in again.stdout


def check_openai(path: Path, kind: str) -> None:
    lines = [json.loads(line)["messages"] for line in path.read_text(encoding="utf-8").splitlines()]
    assert [[each["role"] for each in line] for line in lines] == [["system", "user", "assistant"]] * len(lines)
    assert lines[0][0]["content"].startswith("What <is> it?") and "meh" in lines[0][0]["content"]
    answers = [line[2]["content"] for line in lines]
    expected = {
        "multi": ['["good", "meh"]', "[]"],
        "spans": ['[{"text": "New York", "label": "good"}, {"text": "=now", "label": "meh"}]', "[]"],
    }
    assert answers == expected.get(kind, ["good", "bad|odd", "meh"])


def check_label_studio(path: Path, kind: str) -> None:
    tasks = json.loads(path.read_text(encoding="utf-8"))
    interface = ElementTree.fromstring(path.with_suffix(".xml").read_text(encoding="utf-8"))
    objects = {each.get("name"): each.get("value") for each in interface.iter("Text")}
    (control,) = [each for each in interface if each.tag in ("Choices", "Labels")]
    offered = {each.get("value") for each in control}
    for task in tasks:
        for result in (each for one in task.get("predictions", ()) for each in one["result"]):
            assert (result["from_name"], result["to_name"]) == (control.get("name"), control.get("toName"))
            assert f"${result['to_name']}" == objects[result["to_name"]] and result["to_name"] in task["data"]
            value = result["value"]
            assert set(value.get("choices", value.get("labels"))) <= offered
            if kind == "spans":
                assert task["data"]["text"][value["start"] : value["end"]] == value["text"]
    first = tasks[0]["predictions"][0]
    assert first["model_version"].startswith("xpoll/")
    assert first["score"] == {"multi": 0.6, "spans": 0.8}.get(kind, 0.75)
    assert [each["type"] for each in first["result"]] == {"spans": ["labels"] * 2}.get(kind, ["choices"])
    assert "predictions" not in tasks[2], "abstentions have none"
    assert control.get("choice") == ("multiple" if kind == "multi" else None)


def check_argilla(folder: Path, kind: str) -> None:
    settings = json.loads((folder / ".argilla/settings.json").read_text())
    records = json.loads((folder / "records.json").read_text(encoding="utf-8"))
    (question,) = settings["questions"]
    offered = {each["value"] for each in question["settings"]["options"]}
    assert question["settings"]["type"] == {"multi": "multi_label_selection", "spans": "span"}.get(
        kind, "label_selection"
    )
    suggested = [each["suggestions"].get("label") for each in records]
    assert suggested[2] is None and records[2]["metadata"]["abstained"]
    if kind == "multi":
        assert suggested[1] is None and records[1]["metadata"]["abstained"] == "no label fits", "it takes no empty list"
    value = suggested[0]["value"]
    if kind == "spans":
        assert [records[0]["fields"]["text"][each["start"] : each["end"]] for each in value] == ["New York", "=now"]
        assert {each["label"] for each in value} <= offered
    else:
        assert {value} <= offered if isinstance(value, str) else {*value} <= offered
    assert [each["metadata"]["split"] for each in records][3] == "gold"


def check_autotrain(path: Path, kind: str) -> None:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if kind == "spans":
        assert ast.literal_eval(rows[0]["tokens"]) == ["\U0001f680", "to", "New", "York", ",", "=", "now"]
        assert ast.literal_eval(rows[0]["tags"]) == ["O", "O", "B-good", "I-good", "O", "B-meh", "I-meh"]
        assert ast.literal_eval(rows[1]["tags"]) == ["O", "O"]
    else:
        assert [row["target"] for row in rows] == ["good", "bad|odd", "meh"]
        assert rows[1]["text"] == f"'{FORMULA}", "a spreadsheet computes nothing"
        assert rows[0]["text"] == ROWS[kind][0][2]


def check_datasets(folder: Path, kind: str) -> None:
    header = yaml.safe_load((folder / "README.md").read_text(encoding="utf-8").split("---\n")[1])
    assert [each["split"] for each in header["configs"][0]["data_files"]] == ["train", "test"]
    assert header["pretty_name"] == "set" and "machine-labelled" in header["tags"]
    column = {"multi": "labels", "spans": "spans"}.get(kind, "label")
    (known,) = (row.values for row in stream_rows(f"{folder}/data/test-*.parquet", key="documents.path"))
    assert known[column] == {"multi": ["meh"], "spans": list(spans((0, 5, "good")))}.get(kind, "good")
    assert known[f"voted_{column}"] == {"multi": ["good"], "spans": []}.get(kind, "bad|odd")
    train = [row.values for row in stream_rows(f"{folder}/data/train-*.parquet", key="documents.path")]
    assert all(row[column] == row[f"voted_{column}"] for row in train)
    assert train[0]["text"] == ROWS[kind][0][2]


def test_pairs_keep_both_texts(tmp_path: Path, xpoll: Xpoll) -> None:
    write_run(tmp_path, "single", [one(0, joined("=a", "b"), "good")], more='text_pair_column = "other"')
    options = [part for name, file in FORMS.items() for part in (f"--{name}", file)]
    done = xpoll("export", "run", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (task,) = json.loads((tmp_path / "tasks.json").read_text())
    assert (task["data"]["text"], task["data"]["text_pair"]) == ("=a", "b")
    assert (tmp_path / "tasks.xml").read_text().count("<Text ") == 2
    assert (tmp_path / "t.csv").read_bytes() == b'text,target\r\n"\'=a\nb",good\r\n'
    (record,) = json.loads((tmp_path / "arg/records.json").read_text())
    assert record["fields"] == {"text": "=a", "text_pair": "b"}
    (row,) = stream_rows(str(tmp_path / "set"), key="documents.path")
    assert (row.values["text"], row.values["text_pair"]) == ("=a", "b")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--autotrain", "t.csv"], "--autotrain has no form for several labels per text -> one of these has: --data"),
        (["--datasets", "job.toml"], "--datasets: job.toml is there and holds no data set -> name another folder"),
        (["--argilla", "."], "--argilla: . is there and holds no data set of Argilla -> name another folder"),
        (["--openai", "job.toml/m.jsonl"], "cannot write job.toml/m.jsonl"),
        (
            ["--openai", "m.jsonl", "--push-to-hub", "me/labels"],
            "uploads labels as a data set -> add --datasets FOLDER",
        ),
    ],
)
def test_what_cannot_be_written_is_one_line(
    tmp_path: Path, xpoll: Xpoll, monkeypatch: pytest.MonkeyPatch, options: list[str], said: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", "a-token")
    write_run(tmp_path, "multi", ROWS["multi"])
    done = xpoll("export", "run", *options, cwd=tmp_path)
    assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not (tmp_path / "t.csv").exists()


def test_a_run_without_labels_says_which_step_is_missing(tmp_path: Path, xpoll: Xpoll) -> None:
    write_run(tmp_path, "single", []).labels.unlink()
    done = xpoll("export", "run", "--openai", "m.jsonl", cwd=tmp_path)
    assert (
        done.returncode == 2 and "labels.parquet is not there yet -> run the step before it: xpoll vote" in done.stderr
    )


def test_labels_are_uploaded_as_a_data_set(tmp_path: Path, xpoll: Xpoll, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    monkeypatch.setattr(Hub, "uploads", [])
    monkeypatch.setattr(Hub, "kinds", set())
    monkeypatch.setenv("HF_TOKEN", "a-token")
    write_run(tmp_path, "single", ROWS["single"])
    done = xpoll("export", "run", "--datasets", "set", "--push-to-hub", "me/labels", cwd=tmp_path)
    assert done.stdout.endswith("export: uploaded to https://huggingface.co/me/labels\n"), done.stderr
    assert Hub.kinds == {"dataset"} and Hub.uploads[0][1] == Path("set")


def test_a_form_is_a_line_of_the_table_and_an_option_of_both_commands(
    tmp_path: Path, xpoll: Xpoll, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(texts: TextSet, path: Path) -> WrittenOutput:
        path.write_text("".join(f"{row.id}\n" for row in texts.rows()))
        return WrittenOutput(path, sum(1 for _ in texts.rows()))

    monkeypatch.setitem(OUTPUTS, "ids", Output("the ids alone", "FILE", write, frozenset({"label"})))
    write_run(tmp_path, "single", ROWS["single"])
    done = xpoll("export", "run", "--ids", "ids.txt", cwd=tmp_path)
    assert done.stdout == "export: wrote 6 rows to ids.txt\n", done.stderr
    assert (tmp_path / "ids.txt").read_text().split() == [f"d{i}" for i in range(6)]
    assert "--ids FILE" in xpoll("synthesize", "--help").stdout
