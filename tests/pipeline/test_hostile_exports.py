"""Ids, texts, labels and a question that are formulas, markup or paths are data in every form that labels leave in."""

import csv
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from tests.conftest import Xpoll
from xpoll.core.config.file import load_config
from xpoll.core.files import write_json
from xpoll.core.outputs.registry import OUTPUTS
from xpoll.core.record_files import write_records
from xpoll.core.records import Consensus
from xpoll.core.run_folder import RunFolder
from xpoll.core.spreadsheets import FORMULA
from xpoll.core.tables.readers import stream_rows
from xpoll.votes.tasks.registry import kind_of

LABELS = ['=HYPERLINK("http://x.example")', '"/><script>alert(1)</script>', "`</code><img src=x onerror=alert(1)>"]
IDS = ["../../outside", "=cmd|' /C calc'!A0", "<b>"]
TEXTS = ["@SUM(A1)", "]]><script>alert(2)</script>", "-1+2"]
QUESTION = "What </p><script>alert(3)</script> is it?"
FILES = {"datasets": "set", "openai": "m.jsonl", "autotrain": "t.csv", "labelstudio": "tasks.json", "argilla": "arg"}


@pytest.fixture
def exported(tmp_path: Path, xpoll: Xpoll) -> Path:
    """A folder with every form of a hostile run, and nothing beside it."""
    folder = tmp_path / "inner" / "work"
    folder.mkdir(parents=True)
    job = folder / "job.toml"
    job.write_text(
        '[job]\nrun_folder = "run"\n[documents]\npath = "texts.csv"\n'
        f"[task]\nlabels = {json.dumps(LABELS)}\nquestion = {json.dumps(QUESTION)}\n"
    )
    run = RunFolder(folder / "run")
    write_json(run.config, load_config(job).resolved())
    rows = [
        Consensus(name, "train", text, label, (1.0, 0.0, 0.0), 1.0, 2, 0, 1.0, None)
        for name, text, label in zip(IDS, TEXTS, LABELS, strict=True)
    ]
    write_records(run.labels, rows, kind_of("single").label_schema)
    options = [part for name, file in FILES.items() for part in (f"--{name}", file)]
    done = xpoll("export", "run", *options, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_form_is_tried() -> None:
    assert FILES.keys() == OUTPUTS.keys()


def test_what_is_written_stays_in_its_folder(exported: Path) -> None:
    assert [path.name for path in exported.parents[1].iterdir()] == ["inner"]
    assert [path.name for path in exported.parent.iterdir()] == ["work"]
    made = {"job.toml", "run", "tasks.xml", *FILES.values()}
    assert {path.name for path in exported.iterdir()} == made


def test_no_cell_of_a_sheet_is_a_formula(exported: Path) -> None:
    sheets = sorted(exported.rglob("*.csv"))
    assert [path.name for path in sheets] == ["t.csv"]
    with sheets[0].open(encoding="utf-8", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert len(cells) == 2 * (1 + len(TEXTS))
    assert not [cell for cell in cells if cell.startswith(FORMULA)], cells
    assert {f"'{LABELS[0]}", LABELS[1]} < set(cells)


def test_an_interface_offers_the_labels_and_has_no_other_element(exported: Path) -> None:
    interface = ElementTree.fromstring((exported / "tasks.xml").read_text(encoding="utf-8"))
    assert {element.tag for element in interface.iter()} == {"View", "Text", "Choices", "Choice"}
    assert [each.get("value") for each in interface.iter("Choice")] == LABELS
    assert not [name for element in interface.iter() for name in element.attrib if name.startswith("on")]


def test_json_and_parquet_have_them_as_they_are(exported: Path) -> None:
    tasks = json.loads((exported / "tasks.json").read_text(encoding="utf-8"))
    assert [each["data"]["document_id"] for each in tasks] == IDS
    records = json.loads((exported / "arg/records.json").read_text(encoding="utf-8"))
    assert [each["fields"]["text"] for each in records] == TEXTS
    settings = json.loads((exported / "arg/.argilla/settings.json").read_text(encoding="utf-8"))
    assert {field["settings"]["use_markdown"] for field in settings["fields"]} == {False}, "texts are shown as they are"
    lines = [json.loads(line)["messages"] for line in (exported / "m.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line[-1]["content"] for line in lines] == LABELS
    rows = stream_rows(f"{exported}/set/data/train-*.parquet", key="documents.path")
    assert [row.values["label"] for row in rows] == LABELS


def test_a_data_card_has_no_markup_of_theirs(exported: Path) -> None:
    _, header, body = (exported / "set/README.md").read_text(encoding="utf-8").split("---\n", 2)
    assert yaml.safe_load(header)["pretty_name"] == "set"
    assert "&lt;script>alert(3)" in body, "the question is shown"
    assert "<script" not in body and "<img" not in body and "</p>" not in body
    (labels,) = [line for line in body.splitlines() if line.startswith("* labels:")]
    assert labels.count("`") == 2 * len(LABELS), "no label ends its own quotation"
