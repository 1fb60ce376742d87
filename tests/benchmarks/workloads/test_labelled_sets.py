"""Rows of a data set that is not part of xpoll, and how ways to count are scored on them."""

import csv
from pathlib import Path

import numpy as np
import pytest

from xpoll.benchmarks.workloads.labelled_sets import labelled_set
from xpoll.benchmarks.workloads.teachers_run import scored
from xpoll.core.errors import ConfigError
from xpoll.core.records import Vote
from xpoll.votes.ballots import ballots_of


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "banking77").mkdir()
    for split in ("train", "test"):
        with (tmp_path / f"banking77/{split}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "category"])
            writer.writerows([f"{split} {number}", "ab"[number % 2]] for number in range(10))
    return tmp_path


def test_rows_are_drawn_with_their_own_labels(data: Path) -> None:
    rows = labelled_set(str(data), "banking77", "test", rows=6, seed=1)
    assert rows.labels == ["a", "b"]
    assert len(set(rows.texts)) == 6
    assert rows.named(rows.truth) == ["ab"[int(text.split()[1]) % 2] for text in rows.texts]
    assert rows.texts == labelled_set(str(data), "banking77", "test", rows=6, seed=1).texts
    assert rows.texts != labelled_set(str(data), "banking77", "test", rows=6, seed=2).texts


def test_data_that_is_not_there_is_one_line() -> None:
    with pytest.raises(ConfigError, match=r"parameters\.data"):
        labelled_set("", "phrasebank", "test", rows=6, seed=1)


def test_each_teacher_and_both_are_scored_against_the_labels(data: Path) -> None:
    rows = labelled_set(str(data), "banking77", "test", rows=8, seed=1)
    votes = []
    for number, true in enumerate(rows.truth):
        right = np.eye(2)[true] * 0.8 + 0.1
        votes.append(Vote(str(number), "p", 0, rows.labels[true], None, 0.9, tuple(right), teacher="good"))
        votes.append(Vote(str(number), "p", 0, rows.labels[1 - true], None, 0.6, tuple(1 - right / 1.5), teacher="bad"))
    ballots = ballots_of([str(number) for number in range(8)], votes, rows.labels)
    found = {record["arm"]: record for record in scored(ballots, rows, ["raw", "majority", "contextual"])}
    assert set(found) == {f"{who}: {how}" for who in ("bad", "good", "both") for how in ("raw", "majority")}
    assert found["good: raw"]["accuracy"] == 1
    assert found["good: raw"]["ece"] == pytest.approx(0.1)
    assert found["bad: majority"]["accuracy"] == 0
    assert found["bad: majority"]["accuracy_high"] < 0.5
