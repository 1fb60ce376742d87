"""From a voted run to certified labels in three commands, with the corrections in labels, student data and report."""

import argparse
import csv
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.conftest import Xpoll
from tests.support.example_run import LABELS, make_run
from tests.support.plans import make_plan
from xpoll.core.config.file import load_config
from xpoll.core.files import read_json, write_json, write_table
from xpoll.core.records import (
    COMPLETION_SCHEMA,
    DOCUMENT_SCHEMA,
    Completion,
    Consensus,
    Document,
    Vote,
    from_table,
    to_table,
)
from xpoll.core.run_folder import RunFolder
from xpoll.scripts.commands import review
from xpoll.student.dataset import read_labels, targets, training_rows


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A voted run with the answers it was voted from."""
    folder = make_run(tmp_path / "run", f"job.run_folder={tmp_path}/run", "vote.method=majority")
    votes = from_table(pq.read_table(folder.votes), Vote)
    answers = [Completion(v.document_id, v.persona_id, v.sample, v.label or "?", "stop") for v in votes]
    write_table(folder.completions / "part-00000.parquet", to_table(answers, COMPLETION_SCHEMA))
    session = {"startup_s": 1.0, "wall_s": 2.0, "answers": len(answers)}
    about = {"backend": "replay", "model": "m", "device": "cpu", "device_name": "cpu", "replicas": 1}
    documents = len(labels_of(folder))
    write_json(folder.engine, {**about, "sessions": [session], "settled_documents": documents})
    write_json(folder.plan, make_plan(documents=documents, prompts=len(answers)).as_json())
    read = [Document(row.document_id, row.text, row.split, row.gold_label) for row in labels_of(folder).values()]
    write_table(folder.documents, to_table(read, DOCUMENT_SCHEMA))
    folder.evaluation.unlink()
    folder.report.write_text("made from the old labels")
    return folder


def labels_of(folder: RunFolder) -> dict[str, Consensus]:
    return {row.document_id: row for row in from_table(pq.read_table(folder.labels), Consensus)}


def test_an_audit_in_three_commands(folder: RunFolder, xpoll: Xpoll) -> None:
    drawn = xpoll("review", "sample", folder.path, "--size", "40", "--json")
    assert drawn.returncode == 0, drawn.stderr
    form = Path(json.loads(drawn.stdout)["output"])
    before = labels_of(folder)
    rows = list(csv.DictReader(form.open(encoding="utf-8-sig", newline="")))
    assert len(rows) == 40
    wrong = {row["document_id"] for row in rows[:5]}
    for row in rows:
        voted = str(before[row["document_id"]].label)
        row["label"] = LABELS[LABELS.index(voted) - 1] if row["document_id"] in wrong else voted
    rows[-1]["label"] = "no idea"
    with form.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)

    imported = xpoll("review", "import", folder.path, form, "--json")
    assert imported.returncode == 0, imported.stderr
    assert "'no idea' is not one of" in imported.stderr
    found = json.loads(imported.stdout)
    assert (found["imported"], found["answered"], found["corrected"]) == (39, 39, 5)
    assert 0.5 < found["voted_at_least"] < found["at_least"] < found["estimate"] + 0.1
    assert not folder.report.exists(), "what was made from the old labels is gone"

    after = labels_of(folder)
    for row in rows[:-1]:
        document_id, label = row["document_id"], row["label"]
        assert (after[document_id].label, after[document_id].voted_label) == (label, before[document_id].label)
    unchecked = [document_id for document_id in before if document_id not in {row["document_id"] for row in rows[:-1]}]
    assert all(after[document_id] == before[document_id] for document_id in unchecked)
    consensus, labels = read_labels(folder.labels)
    train = training_rows(consensus, labels).rows
    [soft] = [
        target
        for row, target in zip(train, targets(train, labels, soft=True), strict=True)
        if row.document_id == rows[0]["document_id"]
    ]
    assert soft == [float(label == rows[0]["label"]) for label in labels]

    again = xpoll("review", "sample", folder.path, "--size", "40")
    assert again.returncode == 2
    assert "holds answers of people" in again.stderr

    reported = xpoll("report", folder.path)
    assert reported.returncode == 0, reported.stderr
    assert read_json(folder.metrics)["review"]["at_least"] == found["at_least"]
    assert f"at least {100 * found['at_least']:.1f} %" in folder.report.read_text(encoding="utf-8")

    taught = xpoll("vote", folder.path, "--set", "vote.learn_from_review=true")
    assert taught.returncode == 0, taught.stderr
    assert xpoll("report", folder.path).returncode == 0
    review = read_json(folder.metrics)["review"]
    assert review["at_least"] is None
    assert review["no_bound_because"] == "answers used up"
    assert "which uses them up" in folder.report.read_text(encoding="utf-8")


def fill(form: Path, label_of: Callable[[str], str]) -> list[str]:
    """Labels every row of a form; returns the ids."""
    rows = list(csv.DictReader(form.open(encoding="utf-8-sig", newline="")))
    with form.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows({**row, "label": label_of(row["document_id"])} for row in rows)
    return [row["document_id"] for row in rows]


def test_people_label_the_texts_that_a_wanted_error_needs(folder: RunFolder, xpoll: Xpoll) -> None:
    before = {each: row for each, row in labels_of(folder).items() if row.split == "train" and row.label is not None}
    doubtful = set(sorted(before, key=lambda each: before[each].confidence)[:25])

    def label_of(document_id: str) -> str:
        voted = str(before[document_id].label)
        return LABELS[LABELS.index(voted) - 1] if document_id in doubtful else voted

    drawn = xpoll("review", "sample", folder.path, "--max-error", "0.1", "--confidence", "0.8")
    assert drawn.returncode == 0, drawn.stderr
    assert "--max-error 0.1 --confidence 0.8" in drawn.stdout
    form = folder.path / "review.csv"
    audited = fill(form, label_of)
    assert 16 <= len(audited) < 60
    told = xpoll("review", "import", folder.path, form)
    assert told.returncode == 0, told.stderr
    assert "confidence at most" not in told.stdout, "nothing was asked for yet"

    given = xpoll("review", "sample", folder.path, "--max-error", "0.02")
    assert given.returncode == 2
    assert "rows cannot show that at most 2 %" in given.stderr

    given = xpoll("review", "sample", folder.path, "--max-error", "0.1", "--confidence", "0.8", "--json")
    assert given.returncode == 0, given.stderr
    found = json.loads(given.stdout)
    assert 0 < found["to_label"] == found["doubtful"] < found["documents"] - len(audited)
    asked = fill(Path(found["output"]), label_of)
    assert not set(asked) & set(audited)
    lowest_kept = min(before[each].confidence for each in before if each not in asked and each not in audited)
    assert max(before[each].confidence for each in asked) <= lowest_kept

    half = folder.path / "half.csv"
    half.write_text(
        "\n".join((folder.path / "doubtful.csv").read_text(encoding="utf-8").splitlines()[:2]), encoding="utf-8"
    )
    told = xpoll("review", "import", folder.path, half)
    assert told.returncode == 0, told.stderr
    assert "doubtful texts have no label of a person yet; not shown before: at most 10.0 %" in told.stdout
    told = xpoll("review", "import", folder.path, found["output"], "--json")
    assert told.returncode == 0, told.stderr
    result = json.loads(told.stdout)
    assert result["max_error"] == {"max_error": 0.1, "confidence": 0.8, "to_label": 0}
    assert (result["answered"], result["sampled"]) == (len(audited), len(audited)), "doubtful texts are no audit"
    after = labels_of(folder)
    wrong = sum(after[each].label != label_of(each) for each in before)
    assert wrong <= 0.1 * len(before)
    assert all(after[each].label == label_of(each) for each in [*audited, *asked])
    again = xpoll("review", "sample", folder.path, "--max-error", "0.1", "--confidence", "0.8")
    assert "no more need be labelled" in again.stdout, again.stdout + again.stderr


@pytest.mark.parametrize("form", ["labelstudio", "argilla"])
def test_other_forms_are_written_too(folder: RunFolder, xpoll: Xpoll, tmp_path: Path, form: str) -> None:
    output = tmp_path / "tasks.json"
    done = xpoll("review", "sample", folder.path, "--size", "7", "--format", form, "--output", output)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(output.read_text(encoding="utf-8"))) == 7


def test_likely_label_errors_are_listed(folder: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    texts = {"positive": "sales rose again", "negative": "heavy loss again", "neutral": "nothing to report"}
    voted = labels_of(folder).values()
    rows = [row._replace(split="train", text=f"{texts[LABELS[i % 3]]} {i}") for i, row in enumerate(voted)]
    rows = [row._replace(label=LABELS[(i + (i == 7)) % 3]) for i, row in enumerate(rows)]
    config = load_config(folder.path)
    review._errors(argparse.Namespace(limit=3, json=True), config, rows)
    found = json.loads(capsys.readouterr().out)
    assert found["likely_errors"] >= 1
    assert (found["rows"][0]["label"], found["rows"][0]["suggested"]) == (LABELS[2], LABELS[1])
    assert 1 <= len(found["rows"]) <= 3


def test_no_errors_are_named_where_the_classifier_knows_nothing(folder: RunFolder, xpoll: Xpoll) -> None:
    done = xpoll("review", "errors", folder.path, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["likely_errors"] is None
    assert xpoll("review", "errors", folder.path).stdout.startswith("no list: a classifier of")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["import", "RUN", "filled.csv"],
            "review.json is not there yet -> run the step before it: xpoll review sample",
        ),
        (["sample", "RUN", "--size", "0"], "--size 0 documents cannot be drawn"),
        (["sample", "RUN", "--size", "9999"], "--size 9999 documents cannot be drawn"),
        (["sample", "RUN"], "the following arguments are required: --size"),
        (["sample", "RUN", "--max-error", "2"], "--max-error 2 is not between 0 and 1"),
        (["sample", "RUN", "--max-error", "0.05", "--size", "50"], "50 rows cannot show that at most 5 %"),
        (["guess", "RUN"], "invalid choice: 'guess'"),
        (["errors", "nowhere.toml"], "nowhere.toml does not exist"),
    ],
)
def test_a_wrong_review_command_is_one_line(folder: RunFolder, xpoll: Xpoll, arguments: list[str], said: str) -> None:
    done = xpoll("review", *(str(folder.path) if word == "RUN" else word for word in arguments))
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
