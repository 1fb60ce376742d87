"""The suite `votes` chooses on the train sentences only; with the recorded answers its bounds hold."""

import csv
import os
import tomllib
from pathlib import Path

import numpy as np
import pytest

from xpoll.benchmarks.runner.suite import SUITES, check
from xpoll.benchmarks.suites.votes import LABELS, SAMPLES
from xpoll.benchmarks.suites.votes import measure as measure_votes
from xpoll.core.errors import ConfigError

RECORDED = Path(os.environ.get("XPOLL_DATA") or "../shared/data")
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
    return folder


def measured(folder: Path, *, audits: int = 20) -> list[dict[str, object]]:
    parameters = {"data": str(folder), "repeats": 1, "methods": OWN, "audits": audits, "audit_size": 40}
    small = {"scaling_votes": 3000, "scaling_personas": [3], "scaling_methods": ["posterior"]}
    return list(measure_votes(parameters | small))


def test_every_question_of_the_suite_is_measured_on_made_up_answers(tmp_path: Path) -> None:
    records = measured(made_up(tmp_path))
    bounds = tomllib.loads((SUITES / "votes.toml").read_text(encoding="utf-8"))["checks"]
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
    with pytest.raises(ConfigError, match="the recorded answers are not there: .*mixtral_train.csv.* -> xpoll bench"):
        measured(tmp_path)


@pytest.mark.skipif(not (RECORDED / "phrasebank").is_dir(), reason="set XPOLL_DATA to the recorded answers")
def test_the_bounds_hold_on_the_recorded_answers() -> None:
    records = measured(RECORDED, audits=200)
    bounds = tomllib.loads((SUITES / "votes.toml").read_text(encoding="utf-8"))["checks"]
    failed = [found for bound in bounds if not (found := check(bound, records))["holds"]]
    assert failed == []
