"""`xpoll estimate` says what the shares are, from which rows, and refuses rows that say nothing."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.conftest import Xpoll
from tests.support.example_run import LABELS, make_run
from xpoll.core.files import read_json, write_json, write_table
from xpoll.core.records import CONSENSUS_SCHEMA, Consensus, from_table, to_table, with_labels
from xpoll.core.run_folder import RunFolder
from xpoll.votes.review.sample import draw_sample, write_review


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A voted run whose gold rows are 120 texts beside 120 others."""
    return make_run(tmp_path / "run", f"job.run_folder={tmp_path}/run", "vote.method=majority")


def answered(folder: RunFolder, size: int, *, without: int = 0) -> list[Consensus]:
    """Draws a sample and answers it, every fifth one against the votes; the last rows are left open."""
    rows = from_table(pq.read_table(folder.labels), Consensus)
    review = draw_sample(rows, size=size, seed=0)
    for place, row in enumerate(review["rows"][: size - without]):
        voted = LABELS.index(row["voted_label"])
        row["label"] = LABELS[voted - 1 if place % 5 == 0 else voted]
    write_review(folder.review, review)
    answers = {row["document_id"]: row["label"] for row in review["rows"]}
    corrected = [
        row._replace(label=answers[row.document_id], voted_label=row.label) if answers.get(row.document_id) else row
        for row in rows
    ]
    write_table(folder.labels, to_table(corrected, with_labels(CONSENSUS_SCHEMA, LABELS)))
    return rows


def test_shares_are_told_three_ways(folder: RunFolder, xpoll: Xpoll) -> None:
    rows = answered(folder, 60)
    done = xpoll("estimate", folder.path, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    pile = [row for row in rows if row.split == "train" and row.label is not None]
    [group] = found["groups"]
    assert (found["audit"], group["group"], group["texts"], group["audited"]) == ("review", None, len(pile), 60)
    assert found["without_label"] == sum(row.split == "train" for row in rows) - len(pile)
    for label in LABELS:
        share = group["labels"][label]
        assert share["votes"] == pytest.approx(sum(row.label == label for row in pile) / len(pile))
        low, high = share["estimate"]["ci95"]
        assert low < share["estimate"]["value"] < high
        assert high - low < share["audit"]["ci95"][1] - share["audit"]["ci95"][0]
    assert sum(group["labels"][label]["estimate"]["value"] for label in LABELS) == pytest.approx(1, abs=0.02)

    told = xpoll("estimate", folder.path)
    assert told.returncode == 0, told.stderr
    assert "votes and audit (95 %)" in told.stdout
    assert "that xpoll review sample drew at random" in told.stdout
    assert "have no answer" not in told.stdout


def test_what_has_no_answer_is_told(folder: RunFolder, xpoll: Xpoll) -> None:
    answered(folder, 60, without=7)
    told = xpoll("estimate", folder.path)
    assert "7 drawn texts have no answer, 0 of them were passed over" in told.stdout, told.stderr


def test_gold_rows_count_where_somebody_says_that_they_are_a_random_sample(folder: RunFolder, xpoll: Xpoll) -> None:
    done = xpoll("estimate", folder.path, "--gold", "--json", "--by", "label")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["audit"] == "gold"
    assert [group["group"] for group in found["groups"]] == LABELS
    for group in found["groups"]:
        assert group["labels"][group["group"]]["estimate"]["value"] > 0.9, "grouped by the label itself"
    assert sum(group["texts"] for group in found["groups"]) == sum(group["audited"] for group in found["groups"]) == 120


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nobody has labelled a sample of"),
        (["--gold", "--by", "nonesuch"], "nonesuch"),
        (["--gold", "--by", "text"], "groups, at most 100 can be told apart"),
    ],
)
def test_what_cannot_be_estimated_is_one_line(folder: RunFolder, xpoll: Xpoll, arguments: list[str], said: str) -> None:
    done = xpoll("estimate", folder.path, *arguments)
    assert done.returncode == 2, done.stdout
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_answers_to_other_labels_are_refused(folder: RunFolder, xpoll: Xpoll) -> None:
    answered(folder, 60)
    review = read_json(folder.review)
    write_json(folder.review, review | {"fingerprint": "of other labels"})
    done = xpoll("estimate", folder.path)
    assert done.returncode == 2
    assert "the labels have changed since the sample was drawn" in done.stderr
