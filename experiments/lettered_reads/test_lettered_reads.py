"""The rows of the experiment are what its data sets hold."""

import csv
from pathlib import Path

import pytest

from experiments.lettered_reads.lettered_reads import rows_of
from xpoll.core.errors import ConfigError


def test_rows_and_labels_are_those_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "banking77").mkdir()
    rows = [{"text": f"text {number}", "category": "ab"[number % 2]} for number in range(10)]
    with (tmp_path / "banking77/train.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["text", "category"])
        writer.writeheader()
        writer.writerows(rows)
    texts, truth, labels, _ = rows_of({"data": str(tmp_path), "seed": 1, "texts": 6}, "banking77")
    label_of = {row["text"]: row["category"] for row in rows}
    assert labels == ["a", "b"]
    assert len(set(texts)) == 6
    assert [labels[number] for number in truth] == [label_of[text] for text in texts]


def test_data_that_is_not_there_is_one_line() -> None:
    with pytest.raises(ConfigError, match=r"parameters\.data"):
        rows_of({"data": "", "seed": 1, "texts": 6}, "phrasebank")
