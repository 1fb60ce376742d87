"""The experiment's figures on small files of the same form, with an encoder of random weights."""

import csv
from pathlib import Path

import numpy as np
import pytest

from experiments.__main__ import suite_of
from experiments.two_teachers.two_teachers import SENTIMENT, Rows, measure, votes_of
from tests.support.tiny import make_tiny_bert
from xpoll.core.errors import ConfigError


def write(path: Path, rows: list[dict[str, str]]) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_a_second_teacher_that_is_right_is_believed_after_an_audit(tmp_path: Path) -> None:
    labels = list(SENTIMENT)
    said = [labels[i % 3] for i in range(90)]
    write(
        tmp_path / "phrasebank/mixtral_test.csv",
        [
            {"text": f"text {i}", "label_experts": label, **dict.fromkeys(("vote_1", "vote_2", "vote_3"), label)}
            for i, label in enumerate(said)
        ],
    )
    write(tmp_path / "banking77/test.csv", [{"text": f"query {i}", "category": f"c{i % 5}"} for i in range(90)])
    parameters = suite_of("two_teachers").read()["parameters"] | {
        "data": str(tmp_path),
        "model": str(make_tiny_bert(tmp_path / "model")),
        "rows": 60,
        "audit": [30],
        "audits": 2,
        "made_up": [1.0],
        "methods": ["calibrated", "pooled"],
    }
    records = list(measure(parameters))
    alone = [record["accuracy"] for record in records if record["arm"] == "second alone"]
    assert alone == [1.0, 1.0]
    audited = {(r["data"], r["method"]): r for r in records if r.get("audit") == 30}
    assert audited["phrasebank, Mixtral", "pooled"]["accuracy"] > 0.95
    assert audited["BANKING77, made up, 100% right", "pooled"]["audits"] == 2
    assert all(record["below_the_better"] < 0.05 for record in records if "below_the_better" in record)
    assert {record["documents"] for record in records if "documents" in record} == {60}


def test_answers_that_cannot_be_read_are_no_votes() -> None:
    rows = Rows(SENTIMENT, ["x"], np.array([0]), np.array([[0, -1, 2]]))
    assert votes_of(rows, np.log([[0.2, 0.3, 0.5]])).label_of.tolist() == [2, 0, 2]


def test_data_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no phrasebank/"):
        next(measure({"data": str(tmp_path)}))
