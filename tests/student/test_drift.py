"""Drift raises an alarm where texts are of another kind, and nearly none where they are not."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.student.conftest import Trained
from tests.support import toy
from tests.support.toy import documents
from xpoll.core.config.job import Config
from xpoll.core.files import write_table
from xpoll.core.records import CONSENSUS_SCHEMA, to_table, with_labels
from xpoll.core.run_folder import RunFolder
from xpoll.pipeline.steps import evaluate
from xpoll.student.drift import (
    FALSE_ALARM,
    FEWEST,
    Drift,
    DriftMonitor,
    GoldAnswers,
    read_gold_answers,
    write_gold_answers,
)
from xpoll.student.wording import drift_line

LABELS = ["a", "b", "c"]


def gold(rng: np.random.Generator, rows: int) -> GoldAnswers:
    label = rng.integers(0, 3, rows)
    counts = {name: int((label == i).sum()) for i, name in enumerate(LABELS)}
    return GoldAnswers(confidence=tuple(rng.beta(5, 1, rows).tolist()), label_counts=counts)


def held_against(
    answers: GoldAnswers, rng: np.random.Generator, *, rows: int, batch: int = 256, from_row: int = 0, **kind: object
) -> Drift:
    """A file in batches; from `from_row` on it is of another kind."""
    monitor = DriftMonitor(answers)
    for begin in range(0, rows, batch):
        other = kind if begin >= from_row else {}
        size = min(batch, rows - begin)
        shares = other.get("shares", [1 / 3] * 3)
        labels = rng.choice(3, size, p=shares)  # type: ignore[arg-type]
        monitor.take([LABELS[i] for i in labels], rng.beta(other.get("sure", 5), 1, size).tolist())  # type: ignore[arg-type]
    return monitor.found()


def test_false_alarms_are_as_rare_as_they_are_said_to_be() -> None:
    alarms = 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        alarms += held_against(gold(rng, 60), rng, rows=(30, 300, 2000)[seed % 3]).alarm is not None
    assert alarms <= 150 * FALSE_ALARM + 4, alarms


def test_other_confidences_and_other_labels_raise_an_alarm_that_says_where() -> None:
    rng = np.random.default_rng(1)
    less_sure = held_against(gold(rng, 200), rng, rows=4096, sure=1.5)
    assert less_sure.alarm == "confidences" and less_sure.p_value < FALSE_ALARM
    mix = held_against(gold(rng, 200), rng, rows=4096, shares=[0.7, 0.2, 0.1])
    assert mix.alarm == "labels"
    late = held_against(gold(rng, 200), rng, rows=8192, from_row=7680, sure=1.0)
    assert late.alarm == "confidences" and late.first_row in (7681, 7937)
    assert drift_line(late).startswith(f"drift: the student's confidences from row {late.first_row:,} on are not those")
    assert late.rows == 8192 and late.gold_rows == 200


def test_few_rows_and_few_gold_rows_are_not_compared() -> None:
    rng = np.random.default_rng(2)
    for gold_rows, rows in ((FEWEST - 1, 1000), (100, FEWEST - 1), (100, 0)):
        found = held_against(gold(rng, gold_rows), rng, rows=rows, sure=0.2)
        assert (found.alarm, found.p_value) == (None, 1.0)


def test_rows_without_a_label_are_left_out() -> None:
    rng = np.random.default_rng(3)
    monitor = DriftMonitor(gold(rng, 100))
    monitor.take([None] * 500, [None] * 500)
    assert monitor.found() == (0, 100, None, 1.0, None)


def test_digits_that_engines_differ_in_are_no_drift() -> None:
    rng = np.random.default_rng(4)
    sure = GoldAnswers(confidence=(1.0,) * 100, label_counts={"a": 100, "b": 0, "c": 0})
    monitor = DriftMonitor(sure)
    monitor.take(["a"] * 1000, (1 - 1e-5 * rng.random(1000)).tolist())
    assert monitor.found().alarm is None


def test_what_is_written_is_read_and_a_student_without_it_is_not_compared(tmp_path: Path) -> None:
    assert read_gold_answers(tmp_path) is None
    shares = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.2, 0.1, 0.7]], np.float32)
    write_gold_answers(tmp_path, LABELS, shares)
    found = read_gold_answers(tmp_path)
    assert found is not None
    assert found.label_counts == {"a": 1, "b": 0, "c": 2}
    assert found.confidence == pytest.approx((0.7, 0.8, 0.7))


def test_evaluate_keeps_what_the_student_says_of_the_gold_rows(trained: Trained, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    shutil.copytree(trained.folder, folder.student)
    rows = [*documents(9), *documents(30, seed=1, split="gold")]
    write_table(folder.labels, to_table(rows, with_labels(CONSENSUS_SCHEMA, toy.LABELS)))
    config = Config.model_validate(
        {"documents": {"path": "t.csv"}, "task": {"labels": toy.LABELS}, "job": {"run_folder": str(tmp_path)}}
    )
    assert evaluate(config, folder)
    found = read_gold_answers(folder.student)
    assert found is not None
    assert len(found.confidence) == sum(found.label_counts.values()) == 30
