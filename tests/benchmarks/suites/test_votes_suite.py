"""The suite `votes` chooses on the train sentences only; with the recorded answers its bounds hold."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT
from xpoll.benchmarks.runner.suite import check, read_suite
from xpoll.benchmarks.suites.votes import measure as measure_votes
from xpoll.benchmarks.workloads.recording import LABELS, SAMPLES
from xpoll.core.errors import ConfigError
from xpoll.scripts.cli import main

SHARED = ROOT.parent / "shared" / "data"
RECORDED = os.environ.get("XPOLL_DATA") or (str(SHARED) if SHARED.is_dir() else "")
OWN = ["majority", "reliability_weighted", "posterior"]


def made_up(folder: Path, *, test_truth: str | None = None) -> Path:
    """Recorded answers of the same columns, drawn; with `test_truth` every test sentence is of that label."""
    draw = np.random.default_rng(5)
    (folder / "phrasebank").mkdir(parents=True)
    for split, count in (("train", 300), ("test", 60)):
        columns = ["document_id", "text", "label_experts", "label_simple", "label_cot", *SAMPLES]
        with (folder / f"phrasebank/mixtral_{split}.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow([*columns, "label_majority_published"])
            for i in range(count):
                truth = int(draw.integers(3))
                answers = [LABELS[truth if draw.random() < 0.8 else draw.integers(3)] for _ in range(5)]
                experts = test_truth if test_truth and split == "test" else LABELS[truth]
                table.writerow([f"{split}-{i}", f"{LABELS[truth]} words {i}", experts, *answers, answers[2]])
    (folder / "banking77").mkdir()
    for split in ("train", "test"):
        with (folder / f"banking77/{split}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["text", "category"], *([f"text {i}", f"c{i % 20}"] for i in range(200))])
    intents = {f"i{number}": {"description": "is it so?", "domain": ["general"]} for number in range(5)}
    rows = [{"text": f"query {i}", "intents": [f"i{i % 5}", f"i{(i + 1 + i % 2) % 5}"]} for i in range(60)]
    (folder / "nlupp_banking").mkdir()
    (folder / "nlupp_banking/ontology.json").write_text(json.dumps({"intents": intents}))
    (folder / "nlupp_banking/fold4.json").write_text(json.dumps(rows))
    return folder


def measured(folder: Path, *, audits: int = 20, audit_size: int = 40) -> list[dict[str, object]]:
    parameters = {"data": str(folder), "repeats": 1, "methods": OWN, "audits": audits, "audit_size": audit_size}
    small = {"scaling_votes": 3000, "scaling_personas": [3], "scaling_methods": ["posterior"]}
    further = {
        "sets": ["banking77"],
        "set_rows": 200,
        "planted": read_suite("votes")["parameters"]["planted"],
        "set_methods": OWN,
    }
    return list(measure_votes(parameters | small | further))


def test_every_question_of_the_suite_is_measured_on_made_up_answers(tmp_path: Path) -> None:
    records = measured(made_up(tmp_path))
    bounds = read_suite("votes")["checks"]
    assert all(check(bound, records)["value"] is not None for bound in bounds)
    [stopped] = [record for record in records if record["arm"] == "stop when decided"]
    assert stopped["majorities_that_differ"] == 0
    assert 2 < float(str(stopped["asked_per_text"])) < 3


def test_the_experts_labels_of_the_test_sentences_choose_and_fit_nothing(tmp_path: Path) -> None:
    as_is = measured(made_up(tmp_path / "a"))
    others = measured(made_up(tmp_path / "b", test_truth="negative"))
    for record, other in zip(as_is, others, strict=True):
        assert record.get("method") == other.get("method")
        if record.get("split") in ("train", "all"):
            assert record == other


def test_without_the_recorded_answers_the_suite_says_where_to_put_them(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no file .*mixtral_train.csv -> --set parameters.data=FOLDER"):
        measured(tmp_path)


def test_the_folder_of_the_recorded_answers_has_no_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made_up(tmp_path / "data")
    monkeypatch.chdir(tmp_path / "data")
    monkeypatch.setenv("XPOLL_DATA", str(tmp_path / "data"))
    assert read_suite("votes")["parameters"]["data"] == ""
    assert main(["bench", "votes"]) == 2
    (said,) = [line for line in capsys.readouterr().err.splitlines() if "parameters.data" in line]
    assert "parameters.data is empty" in said
    assert "-> --set parameters.data=FOLDER, the folder that contains phrasebank/mixtral_train.csv" in said


@pytest.mark.skipif(not RECORDED, reason="set XPOLL_DATA to the folder of the recorded answers")
def test_the_bounds_hold_on_the_recorded_answers() -> None:
    records = measured(Path(RECORDED), audits=100, audit_size=200)
    bounds = read_suite("votes")["checks"]
    failed = [found for bound in bounds if not (found := check(bound, records))["holds"]]
    assert failed == []
