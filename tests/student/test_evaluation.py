"""Teacher and student are scored on the gold rows; every figure is checked by hand."""

from collections.abc import Sequence

import numpy as np
import pytest

from tests.support.toy import LABELS, documents, row
from xpoll.core.errors import InputError, ModelError
from xpoll.student.evaluate import evaluate


class FixedStudent:
    """Says what it was told to, with confidence 0.8."""

    def __init__(self, answers: Sequence[str], labels: Sequence[str] = LABELS) -> None:
        self.labels, self._answers = list(labels), answers

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        assert len(texts) == len(self._answers)
        other = 0.2 / (len(self.labels) - 1)
        return np.array([[0.8 if label == answer else other for label in self.labels] for answer in self._answers])


GOLD = [
    row(0, "bad", split="gold", gold="bad", raw="bad", confidence=0.95),
    row(1, "bad", split="gold", gold="fair", raw="fair", confidence=0.65),
    row(2, None, split="gold", gold="fair", raw="fair", confidence=0.5),
    row(3, "good", split="gold", gold="good", raw=None, confidence=0.95),
]


def test_without_gold_rows_every_score_is_none() -> None:
    assert evaluate(documents(3), LABELS, FixedStudent([])) == {
        "gold_rows": 0,
        "labels": LABELS,
        "teacher": None,
        "teacher_raw": None,
        "student": None,
        "student_seeds": None,
        "next_step": None,
        "comparison": None,
    }


def test_a_teachers_abstention_stays_in_the_denominator() -> None:
    scores = evaluate([*documents(5), *GOLD], LABELS, None)
    teacher = scores["teacher"]
    assert scores["gold_rows"] == 4 and scores["student"] is None and scores["comparison"] is None
    assert teacher["accuracy"] == 0.5  # rows 0 and 3 of 4
    assert (teacher["abstained"], teacher["abstention_rate"]) == (1, 0.25)
    assert teacher["confusion"] == [[1, 0, 0, 0], [1, 0, 0, 1], [0, 0, 1, 0]]
    assert teacher["per_class"]["bad"] == {"precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3), "support": 1}
    assert teacher["per_class"]["fair"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 2}
    assert teacher["f1_macro"] == pytest.approx((2 / 3 + 0 + 1) / 3)
    low, high = teacher["accuracy_ci95"]
    assert low < 0.5 < high


def test_calibration_is_over_decided_rows_and_plain_votes_have_none() -> None:
    scores = evaluate(GOLD, LABELS, None)
    # Two right rows at 0.95 and a wrong one at 0.65: (2 * 0.05 + 1 * 0.65) / 3.
    assert scores["teacher"]["ece"] == pytest.approx(0.25)
    assert scores["teacher_raw"]["ece"] is None
    assert scores["teacher_raw"]["accuracy"] == 0.75
    assert scores["teacher_raw"]["abstained"] == 1
    undecided = [row(0, None, split="gold", gold="bad"), row(1, None, split="gold", gold="bad")]
    assert evaluate(undecided, LABELS, None)["teacher"]["ece"] is None


def test_a_student_is_scored_in_its_own_label_order() -> None:
    student = FixedStudent(["bad", "fair", "fair", "bad"], labels=["good", "bad", "fair"])
    scores = evaluate(GOLD, LABELS, student)["student"]
    assert scores["accuracy"] == 0.75
    assert scores["confusion"] == [[1, 0, 0, 0], [0, 2, 0, 0], [1, 0, 0, 0]]
    assert scores["ece"] == pytest.approx(0.05)  # stated 0.8, right 0.75
    assert scores["abstained"] == 0


def test_student_and_teacher_are_compared_in_one_plain_sentence() -> None:
    # 40 rows: the teacher is right on 30, the student on 29; they differ on 4 + 3 rows.
    gold = [row(i, "bad" if i < 30 else "fair", split="gold", gold="bad") for i in range(40)]
    answers = ["fair"] * 4 + ["bad"] * 29 + ["fair"] * 7
    comparison = evaluate(gold, LABELS, FixedStudent(answers))["comparison"]
    assert comparison.pop("difference_ci95") == pytest.approx([-0.1556, 0.108], abs=1e-4)
    assert comparison.pop("agreement_ci95") == pytest.approx([0.6805, 0.9125], abs=1e-3)
    assert comparison == {
        "difference": -0.025,
        "agreement": 33 / 40,
        "apart": {"student": 3, "teacher": 4, "neither": 0},
        "votes_sentence": "It gives the voted label on 82.5 % (68.1 % to 91.3 %) of the 40 rows that have one; on the "
        "other 7 the student is right 3 times, its teacher 4 times, neither 0 times.",
        "p_value": 1.0,
        "within_noise": True,
        "sentence": "The student is 2.5 points below its teacher (72.5 % against 75.0 %) on 40 gold rows; "
        "p = 1.00, within noise.",
    }


def test_a_difference_beyond_chance_is_called_one() -> None:
    gold = [row(i, "fair", split="gold", gold="bad") for i in range(11)]
    comparison = evaluate(gold, LABELS, FixedStudent(["bad"] * 11))["comparison"]
    assert comparison["p_value"] == pytest.approx(2 / 2**11)
    assert comparison["within_noise"] is False
    assert "100.0 points above its teacher" in comparison["sentence"]
    assert comparison["sentence"].endswith("p < 0.001, more than noise.")


def test_a_student_is_held_against_votes_where_there_are_any() -> None:
    gold = [row(0, None, split="gold", gold="bad"), row(1, "fair", split="gold", gold="bad")]
    comparison = evaluate(gold, LABELS, FixedStudent(["bad", "good"]))["comparison"]
    assert (comparison["agreement"], comparison["apart"]) == (0.0, {"student": 0, "teacher": 0, "neither": 1})
    assert "of the one row that has one; on the other 1 the student is right 0 times" in comparison["votes_sentence"]
    assert evaluate(gold[:1], LABELS, FixedStudent(["bad"]))["comparison"]["votes_sentence"] is None


def test_equal_accuracies_are_called_level() -> None:
    gold = [row(0, "bad", split="gold", gold="bad")]
    sentence = evaluate(gold, LABELS, FixedStudent(["bad"]))["comparison"]["sentence"]
    assert sentence == "The student is level with its teacher (100.0 % both) on 1 gold row; p = 1.00, within noise."


def test_labels_that_do_not_match_the_task_are_refused() -> None:
    with pytest.raises(InputError, match="gold label 'ugly' is not one of"):
        evaluate([row(0, "bad", split="gold", gold="ugly")], LABELS, None)
    with pytest.raises(ModelError, match="train it anew"):
        evaluate(GOLD, LABELS, FixedStudent(["bad"] * 4, labels=["bad", "fair"]))
