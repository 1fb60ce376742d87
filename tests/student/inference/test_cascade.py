"""The student answers from the confidence on that gold rows show to be enough; the panel answers the rest."""

import argparse
import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.student.conftest import Trained
from tests.support.toy import LABELS, documents, row
from xpoll.core.errors import InputError, ModelError
from xpoll.core.files import read_json, write_json, write_table
from xpoll.core.records import CONSENSUS_SCHEMA, Consensus, to_table, with_labels
from xpoll.pipeline import cascade as command
from xpoll.scripts.commands import predict
from xpoll.student.inference.cascade import SecondOpinions, chosen_threshold, second_opinion, smallest_share
from xpoll.student.inference.outputs import ResultRow


def test_the_threshold_is_the_lowest_that_is_shown_to_reach_the_target() -> None:
    confidence = np.linspace(1, 0.35, 400)
    right = np.where(np.arange(400) < 200, True, np.arange(400) % 2 == 0)  # sure ones right, the others every second
    student = ["good" if each else "bad" for each in right]
    gold, teacher = ["good"] * 400, ["good"] * 390 + [None] * 10
    chosen = chosen_threshold(student, confidence.tolist(), teacher, gold, target=0.95)
    sure = confidence >= chosen.threshold
    assert chosen.sure_low is not None and chosen.sure_low >= 0.95
    assert 200 <= sure.sum() <= 215, "a few wrong ones more would take the interval below the target"
    assert chosen.panel_share == pytest.approx(1 - sure.mean())
    assert chosen.student_accuracy == pytest.approx(right.mean())
    assert chosen.teacher_accuracy == pytest.approx(0.975)
    assert chosen.cascade_accuracy == pytest.approx((right[sure].sum() + (~sure).sum() - 10) / 400)


def test_a_target_that_nothing_shows_sends_every_row_to_the_panel() -> None:
    chosen = chosen_threshold(["good"] * 10, [0.99] * 10, ["good"] * 10, ["good"] * 10, target=0.5)
    assert chosen.threshold > 1 and chosen.panel_share == 1 and chosen.sure_accuracy is None, "10 rows show little"


def test_rows_of_one_confidence_stay_together() -> None:
    right = [True] * 60 + [False] * 40
    chosen = chosen_threshold(
        ["good" if each else "bad" for each in right], [0.9] * 100, ["good"] * 100, ["good"] * 100, target=0.8
    )
    assert chosen.threshold > 1


def test_thresholds_are_tested_from_the_most_confident_rows_down_to_the_first_that_is_not_shown() -> None:
    """Two hundred right rows below a wrong stretch would lift a scan of all thresholds over it."""
    right = [True] * 150 + [False] * 40 + [True] * 810
    student = ["good" if each else "bad" for each in right]
    confidence = np.linspace(1, 0.5, 1000).tolist()
    chosen = chosen_threshold(student, confidence, ["good"] * 1000, ["good"] * 1000, target=0.9)
    assert np.mean(right) > 0.95, "over all rows the target would be shown"
    assert chosen.threshold > 1 and chosen.sure_low is None
    chosen = chosen_threshold(student[190:], confidence[190:], ["good"] * 810, ["good"] * 810, target=0.9)
    assert chosen.panel_share == 0


def test_a_student_just_below_the_target_is_rarely_declared_to_reach_it() -> None:
    """Nominal 2.5 %; taking the lowest of all thresholds with a high enough interval declares it in 8 %."""
    rng = np.random.default_rng(0)
    confidence = np.linspace(1, 0.5, 453).tolist()
    gold = ["good"] * 453
    declared = 0
    for _ in range(300):
        student = ["good" if each else "bad" for each in rng.random(453) < 0.895]
        declared += chosen_threshold(student, confidence, gold, gold, target=0.9).threshold <= 1
    assert declared <= 12, declared


def test_the_bound_is_clopper_and_pearson_s() -> None:
    assert smallest_share(36, 36) == pytest.approx(0.025 ** (1 / 36))
    assert smallest_share(0, 10) == 0
    assert smallest_share(90, 100) == pytest.approx(0.8238, abs=1e-4)  # table of exact binomial limits


def test_second_opinions_are_taken_row_by_row() -> None:
    asked = [row(2, "good", distribution=(0.1, 0.2, 0.7), confidence=0.7), row(5, None)]
    opinions = SecondOpinions(iter(asked))
    mine = ResultRow({"text": "x"}, "bad", 0.4, [0.4, 0.3, 0.3], None)
    merged = [second_opinion(mine, opinions.of(number), LABELS) for number in range(6)]
    assert [each.extra for each in merged] == [("student",)] * 2 + [("panel",)] + [("student",)] * 2 + [("panel",)]
    assert (merged[2].label, merged[2].confidence, merged[2].probabilities) == ("good", 0.7, [0.1, 0.2, 0.7])
    assert merged[5].label is None and merged[5].error == "the panel abstained: tie"
    unread = ResultRow({}, None, None, [None] * 3, "no JSON")
    assert second_opinion(unread, None, LABELS).extra == (None,)


def prepared(folder: Path, trained: Trained, *, gold_rows: int) -> Path:
    """A run folder with a student, gold rows and a config."""
    run = folder / "run"
    run.mkdir()
    (run / "student").symlink_to(trained.folder)
    gold = documents(gold_rows, seed=11, split="gold")
    write_table(run / "labels.parquet", to_table(gold, with_labels(CONSENSUS_SCHEMA, LABELS)))
    config = {"documents": {"path": "t.csv"}, "task": {"labels": LABELS}, "job": {"run_folder": str(run)}}
    (run / "config.resolved.json").write_text(json.dumps(config))
    return run


def arguments(run: Path, folder: Path, target: float) -> argparse.Namespace:
    texts = ["a loss", "gain", "", "the firm said that", "flat"]
    with (folder / "in.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["text", "n"], *([text, i] for i, text in enumerate(texts))])
    return argparse.Namespace(
        student=run,
        cascade=run,
        input=str(folder / "in.csv"),
        output=folder / "out.csv",
        text_column="text",
        runtime="pytorch",
        device=None,
        target=target,
        json=True,
    )


def test_the_command_puts_unsure_rows_to_the_panel_and_merges(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[str, str]] = []

    def panel(_: object, unsure: Path, __: Path) -> Iterator[Consensus]:
        for each in pq.read_table(unsure).to_pylist():
            asked.append((each["row"], each["text"]))
            yield row(int(each["row"]), "fair", distribution=(0, 1, 0), confidence=1.0)

    monkeypatch.setattr(command, "_panel", panel)
    run = prepared(tmp_path, trained, gold_rows=150)
    assert predict.call(arguments(run, tmp_path, 0.9)) == 0
    said = json.loads(capsys.readouterr().out)
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [each["text"] for each in rows] == ["a loss", "gain", "", "the firm said that", "flat"]
    assert said["rows"] == 5 and said["by_panel"] == len(asked)
    assert said["drift"] is None, "this student was not evaluated"
    by = {each["answered_by"] for each in rows if each["text"]}
    assert by <= {"student", "panel"} and rows[2]["answered_by"] == ""
    assert [each["label"] for each in rows if each["answered_by"] == "panel"] == ["fair"] * len(asked)
    # Where nothing is shown to be enough, the panel is asked about every row with a text.
    asked.clear()
    assert predict.call(arguments(run, tmp_path, 0.9999)) == 0
    assert [number for number, _ in asked] == ["0", "1", "3", "4"]


def test_the_student_that_is_named_answers_and_one_of_other_labels_is_refused(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_panel", lambda *_: iter(()))
    run = prepared(tmp_path, trained, gold_rows=150)
    (run / "student").unlink()
    given = arguments(run, tmp_path, 0.9)
    given.student = trained.folder
    assert predict.call(given) == 0
    given.output.unlink()
    given.student = tmp_path / "other"
    with pytest.raises(ModelError, match="other is no student"):
        predict.call(given)
    shutil.copytree(trained.folder, given.student)
    config = read_json(given.student / "config.json")
    config["id2label"] = {number: label.upper() for number, label in config["id2label"].items()}
    write_json(given.student / "config.json", config)
    with pytest.raises(ModelError, match=r"other tells \['BAD', .* apart, the panel of .*run \['bad', "):
        predict.call(given)
    assert not given.output.exists()


def test_a_run_without_gold_rows_has_no_threshold(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no gold rows"):
        predict.call(arguments(prepared(tmp_path, trained, gold_rows=0), tmp_path, 0.9))
