"""The suite's figures from recorded answers of the demo's model, with chains of thought that are made up."""

import csv
import json

import pyarrow.parquet as pq

from experiments.__main__ import suite_of
from experiments.weak_teacher.weak_teacher import CHAIN, EXAMPLE, RAW, figures_of
from xpoll.core.records import Completion


def recorded() -> list[Completion]:
    rows = pq.read_table(EXAMPLE / "recorded.parquet").to_pylist()
    kept = [name for name in Completion._fields if name in rows[0]]
    return [
        Completion(**{name: tuple(row[name]) if isinstance(row[name], list) else row[name] for name in kept})
        for row in rows
    ]


def chains(right: bool) -> list[Completion]:
    """Three chains of 40 tokens for each of ten gold texts."""
    with (EXAMPLE / "gold.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[:10]
    return [
        Completion(
            f"{CHAIN}{row['id']}",
            "retail_investor",
            sample,
            text=json.dumps({"reason": "so", "label": row["label"] if right else "?"}),
            finish_reason="stop",
            output_tokens=40,
        )
        for row in rows
        for sample in range(3)
    ]


def test_calibration_makes_a_teacher_of_a_model_that_says_one_label() -> None:
    records = list(figures_of([*recorded(), *chains(right=True)], suite_of("weak_teacher").read()["parameters"]))
    gold = {record["arm"]: record for record in records if record.get("split") == "gold" and "f1_macro" in record}
    assert gold[RAW]["accuracy"] < 0.25
    assert gold["panel, calibrated"]["accuracy"] > gold[RAW]["accuracy"] + 0.4
    assert gold["panel, reliability weights"]["accuracy"] < 0.3, "agreement of biased personas teaches the bias"
    [chosen] = [record for record in records if "best_gain" in record]
    best = chosen["arm"].removeprefix("chosen on train: ")
    train = {record["arm"]: record for record in records if record.get("split") == "train"}
    assert all(train[best]["right"] >= record["right"] for record in train.values())
    assert chosen["best_gain"] == gold[best]["accuracy"] - gold[RAW]["accuracy"]
    [tokens] = [record for record in records if "tokens_share" in record]
    assert tokens["chains_tokens_per_text"] == 120
    assert tokens["tokens_share"] == tokens["panel_tokens_per_text"] / 120 < 0.2


def test_chains_that_cannot_be_read_are_counted_as_wrong() -> None:
    records = list(figures_of([*recorded(), *chains(right=False)], suite_of("weak_teacher").read()["parameters"]))
    [thought] = [record for record in records if "unparsable" in record]
    assert (thought["accuracy"], thought["unparsable"], thought["documents"]) == (0, 30, 10)
