"""The audit's bound holds, its sample is fair, and no answer of a person is lost, guessed or taken twice."""

import csv
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xpoll.core.errors import InputError
from xpoll.core.outputs.label_studio import labelling_interface
from xpoll.core.records import Consensus
from xpoll.votes.review.bound import Stratum, certify, largest_share
from xpoll.votes.review.forms import FORMS, read_answers, write_form
from xpoll.votes.review.label_errors import likely_errors, text_probabilities
from xpoll.votes.review.sample import answers_of, certificate_of, draw_sample

LABELS = ["bad", "good"]


def labelled(confidences: list[float]) -> list[Consensus]:
    return [Consensus(f"d{i}", "train", f"text {i}", "good", (1 - c, c), c, 3, 0, c) for i, c in enumerate(confidences)]


@pytest.mark.parametrize(
    ("documents", "size", "confidence"),
    [(1811, 200, "calibrated"), (1811, 200, "useless"), (997, 101, "calibrated"), (20_000, 60, "calibrated")],
)
def test_the_bound_holds_in_95_of_100_simulated_audits(documents: int, size: int, confidence: str) -> None:
    draw = np.random.default_rng(documents)
    stated = draw.beta(6, 1, documents) / 2 + 0.5
    wrong = draw.random(documents) > (stated if confidence == "calibrated" else 0.93)
    rows = labelled(stated.tolist())
    strata_only = draw_sample(rows, size=size, seed=0)["strata"]
    ranked = np.argsort(stated)
    ends = np.cumsum([0, *(stratum["documents"] for stratum in strata_only)])
    strata = [Stratum(stratum["documents"], stratum["sampled"]) for stratum in strata_only]
    held = held_after = 0
    certificates = cache(lambda found: certify(strata, wrong=found))
    for _ in range(1000):
        found = sum(
            int(draw.hypergeometric(bad := int(wrong[ranked[low:high]].sum()), high - low - bad, stratum.sampled))
            for stratum, low, high in zip(strata, ends, ends[1:], strict=False)
        )
        certificate = certificates(found)
        held += certificate.voted_at_least <= 1 - wrong.mean()
        held_after += certificate.at_least <= 1 - (wrong.sum() - found) / documents
    assert held >= 950, held
    assert held == held_after


def test_the_bound_is_clopper_and_pearson_s() -> None:
    assert largest_share(0, 59, 0.05) == pytest.approx(1 - 0.05 ** (1 / 59))
    assert largest_share(5, 100, 0.05) == pytest.approx(0.10225, abs=1e-4)  # table of exact binomial limits
    assert largest_share(7, 7, 0.05) == 1.0
    certificate = certify([Stratum(500, 50)] * 2, wrong=4)
    assert certificate.voted_at_least == pytest.approx(1 - largest_share(4, 100, 0.05))
    assert certificate.at_least == pytest.approx(certificate.voted_at_least + 4 / 1000)


def test_what_nobody_answered_counts_as_wrong_and_a_whole_audit_leaves_no_doubt() -> None:
    strata = [Stratum(100, 10)] * 5
    assert certify(strata, wrong=1, unanswered=2).voted_at_least == certify(strata, wrong=3).voted_at_least
    everything = certify([Stratum(40, 40)], wrong=3)
    assert (everything.voted_at_least, everything.at_least) == (pytest.approx(37 / 40), 1.0)


@settings(max_examples=40, deadline=None)
@given(documents=st.integers(1, 400), data=st.data())
def test_every_document_has_the_same_chance_to_within_one_a_stratum(documents: int, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, documents))
    drawn = draw_sample(labelled([0.5 + i / 1000 for i in range(documents)]), size=size, seed=1)
    assert len({row["document_id"] for row in drawn["rows"]}) == size
    assert sum(stratum["documents"] for stratum in drawn["strata"]) == documents
    for number, stratum in enumerate(drawn["strata"]):
        assert abs(stratum["documents"] - stratum["sampled"] * documents / size) <= 1
        mine = [row for row in drawn["rows"] if row["stratum"] == number]
        assert len(mine) == stratum["sampled"] >= 1
        assert sum(row["weight"] for row in mine) == pytest.approx(stratum["documents"])
        assert all(stratum["lowest_confidence"] <= row["confidence"] <= stratum["highest_confidence"] for row in mine)


def test_a_sample_is_drawn_from_voted_labels_of_the_train_split_alone_and_is_the_same_again() -> None:
    rows = labelled([0.9] * 50)
    rows[0] = rows[0]._replace(split="gold")
    rows[1] = rows[1]._replace(label=None)
    drawn = draw_sample(rows, size=48, seed=3)
    assert {row["document_id"] for row in drawn["rows"]} == {f"d{i}" for i in range(2, 50)}
    assert draw_sample(list(reversed(rows)), size=20, seed=3) == draw_sample(rows, size=20, seed=3)
    assert draw_sample(rows, size=20, seed=4) != draw_sample(rows, size=20, seed=3)
    with pytest.raises(InputError, match="--size 49 documents cannot be drawn from 48"):
        draw_sample(rows, size=49, seed=3)


def test_there_is_no_bound_where_it_would_not_hold() -> None:
    rows = labelled([0.6 + i / 1000 for i in range(100)])
    review = draw_sample(rows, size=20, seed=0)
    assert certificate_of(review, rows, learnt_from=False)[1] == "nobody answered"
    for row in review["rows"]:
        row["label"] = "good"
    review["rows"][0]["label"] = "bad"
    certificate, reason = certificate_of(review, rows, learnt_from=False)
    assert reason is None
    assert certificate is not None
    assert (certificate.wrong, certificate.unanswered) == (1, 0)
    corrected = [row._replace(label="bad", voted_label="good") if row.document_id == "d7" else row for row in rows]
    assert certificate_of(review, corrected, learnt_from=False)[0] == certificate, "a correction is not a change"
    voted_anew = [row._replace(label="bad") if row.document_id == "d7" else row for row in rows]
    assert certificate_of(review, voted_anew, learnt_from=False)[1] == "labels changed"
    assert certificate_of(review, rows, learnt_from=True)[1] == "answers used up"


def drawn_form(tmp_path: Path, form: str) -> tuple[Path, dict[str, Any]]:
    rows = labelled([0.9] * 6)
    rows[0] = rows[0]._replace(text='=HYPERLINK("x"),\n"quoted" \u00e9')
    drawn = draw_sample(rows, size=6, seed=0)
    path = tmp_path / f"form.{'csv' if form == 'csv' else 'json'}"
    write_form(path, form, drawn["rows"], {row.document_id: row.text for row in rows})
    return path, drawn


@pytest.mark.parametrize("form", list(FORMS))
def test_a_filled_form_comes_back_as_it_was_filled(tmp_path: Path, form: str) -> None:
    path, drawn = drawn_form(tmp_path, form)
    assert "good" not in path.read_text(), "people must not see what was voted"
    wanted = {f"d{i}": LABELS[i % 2] for i in range(5)}  # d5 is left open
    if form == "csv":
        rows = list(csv.DictReader(path.open(newline="", encoding="utf-8-sig")))
        for row in rows:
            row["label"] = wanted.get(row["document_id"], "").upper()
        with path.open("w", newline="") as file:
            table = csv.DictWriter(file, list(rows[0]))
            table.writeheader()
            table.writerows(rows)
    else:
        items = json.loads(path.read_text())
        for item in items:
            document_id = item["data"]["document_id"] if form == "labelstudio" else item["id"]
            label = wanted.get(document_id)
            if form == "labelstudio":
                result = [{"from_name": "label", "type": "choices", "value": {"choices": [label]}}] if label else []
                item["annotations"] = [{"result": result}, {"was_cancelled": True, "result": None}]
            elif label:
                item["responses"] = {"label": [{"value": label, "user_id": "u"}]}
        path.write_text(json.dumps(items))
    answers = read_answers(path, {row["document_id"] for row in drawn["rows"]}, LABELS)
    assert answers.labels == wanted
    assert answers.skipped == []


def test_a_text_that_a_spreadsheet_would_compute_is_defused(tmp_path: Path) -> None:
    path, _ = drawn_form(tmp_path, "csv")
    [row] = [row for row in csv.DictReader(path.open(newline="", encoding="utf-8-sig")) if row["document_id"] == "d0"]
    assert row["text"].startswith("'=HYPERLINK")


def test_the_label_studio_interface_names_every_label_escaped() -> None:
    config = labelling_interface(["<good>", 'a "b"'])
    assert '<Choice value="&lt;good&gt;"/>' in config
    assert "'a \"b\"'" in config


@pytest.mark.parametrize(
    ("rows", "labels", "reason"),
    [
        ("d0,good\nd1,godo\n", {"d0": "good"}, "row 3: 'godo' is not one of"),
        ("d0,good\nd9,good\n", {"d0": "good"}, "row 3: document 'd9' is not in the sample"),
        ("d0,good\nd1,good\nd1,bad\n", {"d0": "good"}, "row 4: document 'd1' has two different labels"),
        ("d0,good\nd0,good\n", {"d0": "good"}, None),
    ],
)
def test_a_row_that_cannot_be_used_is_named(tmp_path: Path, rows: str, labels: dict[str, str], reason: str) -> None:
    (tmp_path / "filled.csv").write_text(f"document_id,label\n{rows}")
    answers = read_answers(tmp_path / "filled.csv", {"d0", "d1"}, LABELS)
    assert answers.labels == labels
    assert [line for line in answers.skipped if reason and line.startswith(reason)] == answers.skipped
    assert len(answers.skipped) == (reason is not None)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "document_id,text\nd0,x\n"),
        ("a.csv", "document_id,label\nd0,\n"),
        ("a.csv", "document_id,label\nd0,maybe\n"),
        ("a.json", "{"),
        ("a.json", '{"rows": []}'),
        ("a.json", "[1, {}, null]"),
        ("a.json", '[{"annotations": [{"result": 3}], "data": {"document_id": "d0"}}]'),
        ("a.json", '[{"annotations": 3, "data": {}}, {"responses": [], "id": 0}, {"document_id": "d0", "label": 3}]'),
        ("missing.csv", None),
    ],
)
def test_a_file_without_a_usable_answer_is_refused_in_one_line(tmp_path: Path, name: str, text: str | None) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as raised:
        read_answers(tmp_path / name, {"d0"}, LABELS)
    assert "\n" not in str(raised.value)


def test_the_confident_joint_finds_labels_that_were_swapped() -> None:
    draw = np.random.default_rng(0)
    truth = draw.integers(0, 3, 600)
    probabilities = draw.dirichlet(np.ones(3), 600) * 0.4 + 0.6 * np.eye(3)[truth]
    labels = truth.copy()
    swapped = draw.choice(600, 30, replace=False)
    labels[swapped] = (labels[swapped] + 1) % 3
    found = likely_errors(labels, probabilities)
    assert {error.row for error in found[:25]} <= set(swapped.tolist())
    assert all(error.suggested == truth[error.row] for error in found[:25])
    assert [error.margin for error in found] == sorted((error.margin for error in found), reverse=True)
    assert likely_errors(truth, np.eye(3)[truth]) == []


def test_no_text_is_judged_by_a_classifier_that_was_trained_on_it() -> None:
    texts = [f"{'sunny warm' if i % 2 else 'rain cold'} day {i}" for i in range(60)] + ["rain cold day 60"]
    labels = np.array([i % 2 for i in range(60)] + [1])  # the last one is wrong
    probabilities = text_probabilities(texts, labels, 2, seed=0)
    assert probabilities.sum(1) == pytest.approx(1)
    assert (probabilities[:60].argmax(1) == labels[:60]).all()
    assert probabilities[60].argmax() == 0
    assert likely_errors(labels, probabilities)[0].row == 60


def test_answers_are_those_that_were_given() -> None:
    review = draw_sample(labelled([0.9, 0.8]), size=2, seed=0)
    assert answers_of(None) == answers_of(review) == {}
    review["rows"][0]["label"] = "bad"
    assert answers_of(review) == {review["rows"][0]["document_id"]: "bad"}
