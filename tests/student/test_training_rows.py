"""Voted labels become training rows, or one line that says why they cannot."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.support.toy import LABELS, documents, row
from xpoll.core.errors import InputError
from xpoll.core.records import CONSENSUS_SCHEMA, NO_READABLE_VOTE, to_table, with_labels
from xpoll.student.dataset import label_counts, read_labels, split, targets, training_rows


def test_labels_are_read_as_they_were_written_with_their_order(tmp_path: Path) -> None:
    path = tmp_path / "labels.parquet"
    rows = [*documents(4), row(4, None)]
    pq.write_table(to_table(rows, with_labels(CONSENSUS_SCHEMA, ["good", "bad", "fair"])), path)
    assert read_labels(path) == (rows, ["good", "bad", "fair"])


def test_a_missing_or_foreign_labels_file_is_refused_in_one_line(tmp_path: Path) -> None:
    broken, unordered = tmp_path / "broken.parquet", tmp_path / "unordered.parquet"
    broken.write_bytes(b"id,label\n")
    pq.write_table(to_table(documents(3), CONSENSUS_SCHEMA), unordered)
    for path in (tmp_path / "absent.parquet", broken, unordered):
        with pytest.raises(InputError, match="xpoll vote") as refused:
            read_labels(path)
        assert "\n" not in str(refused.value)


def test_abstained_rows_are_left_out_and_counted_and_gold_rows_are_never_used() -> None:
    rows = [*documents(3), row(3, None), row(4, "bad", split="gold", gold="bad"), row(5, None, split="gold")]
    chosen = training_rows(rows, LABELS)
    assert [kept.document_id for kept in chosen.rows] == ["0", "1", "2"]
    assert [row.label for row in chosen.abstained] == [None]


def test_a_text_that_is_a_gold_row_too_is_not_trained_on_and_counted() -> None:
    gold = [row(9, "bad", split="gold", gold="bad", text="Late  again, CAF\u00c9")]
    rows = [row(0, "bad", text="late again, cafe\u0301"), row(1, "good"), row(2, "bad"), *gold]
    chosen = training_rows(rows, LABELS)
    assert [kept.document_id for kept in chosen.rows] == ["1", "2"]
    assert [left_out.document_id for left_out in chosen.measured_on] == ["0"]
    not_scored = [row._replace(gold_label=None) for row in gold]
    assert len(training_rows([*rows[:-1], *not_scored], LABELS).rows) == 3, "what is not measured on is trained on"


def test_documents_that_are_all_gold_rows_are_refused() -> None:
    with pytest.raises(InputError, match="all 2 documents are gold rows, too"):
        training_rows(
            [row(i, LABELS[i], text="one text") for i in range(2)]
            + [row(2, "bad", split="gold", gold="bad", text="one text")],
            LABELS,
        )


def test_the_same_text_is_never_on_both_sides_of_what_is_held_out() -> None:
    rows = [row(i, LABELS[i % 2], text=f"text {i // 4 if i < 200 else i}") for i in range(800)]
    train, held_out = split(rows, share=0.2, seed=0)
    assert sorted([*train, *held_out]) == list(range(800))
    assert held_out
    assert not {rows[i].text for i in train} & {rows[i].text for i in held_out}
    alike = [row(i, LABELS[i // 200], text=f"text {i // 4}") for i in range(400)]
    assert {
        len([i for i in split(alike, share=0.4, seed=0).held_out if alike[i].text == text])
        for text in {r.text for r in alike}
    } == {0, 4}


def test_documents_that_no_answer_was_read_of_are_not_called_abstentions() -> None:
    unread = [row(i, None)._replace(abstained=NO_READABLE_VOTE) for i in range(3)]
    with pytest.raises(InputError, match="no answer about any of them could be read -> votes.parquet says why"):
        training_rows(unread, LABELS)


def test_training_without_a_decided_row_is_refused() -> None:
    with pytest.raises(InputError, match="none of the 2 documents has a label.*-> raise panel.samples"):
        training_rows([row(0, None), row(1, None), *documents(3, split="gold")], LABELS)


def test_training_on_one_label_is_refused_naming_it_and_its_rows() -> None:
    with pytest.raises(InputError, match="all 2 decided documents are labelled 'bad'.*-> add documents"):
        training_rows([row(0, "bad"), row(1, "bad"), row(2, None)], LABELS)


def test_a_label_outside_the_task_is_refused() -> None:
    with pytest.raises(InputError, match="'ugly' is not one of"):
        training_rows([row(0, "ugly"), row(1, "bad")], LABELS)


def test_soft_targets_are_the_distribution_and_hard_targets_the_voted_label() -> None:
    rows = [row(0, "good", distribution=(0.2, 0.1, 0.7)), row(1, "bad", distribution=(0.6, 0.4, 0.0))]
    assert targets(rows, LABELS, soft=True) == [[0.2, 0.1, 0.7], [0.6, 0.4, 0.0]]
    assert targets(rows, LABELS, soft=False) == [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    assert label_counts(rows, LABELS) == {"bad": 1, "fair": 0, "good": 1}
