"""Teacher and student are scored on the gold rows; every figure is checked by hand."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.support.toy import LABELS, documents, row
from xpoll.core.errors import InputError, ModelError
from xpoll.core.files import write_json
from xpoll.core.records import Consensus
from xpoll.core.run_folder import RunFolder
from xpoll.student.evaluate import evaluate
from xpoll.student.evaluation import Apart, Evaluation, TeacherComparison, Verdict, read_evaluation
from xpoll.student.wording import comparison_sentence, seeds_sentence, votes_sentence


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
    scores = evaluate(documents(3), LABELS, FixedStudent([]))  # type: ignore[arg-type]
    assert scores == Evaluation(
        gold_rows=0, labels=tuple(LABELS), verdict=Verdict(word="not measured", reasons=("no gold rows",))
    )
    assert scores.as_json()["teacher"] is None


def test_a_teachers_abstention_stays_in_the_denominator() -> None:
    scores = evaluate([*documents(5), *GOLD], LABELS, None)
    teacher = scores.teacher
    assert scores.gold_rows == 4 and scores.student is None and scores.comparison is None
    assert scores.verdict.reasons == ("no student",)
    assert teacher is not None and teacher.accuracy == 0.5  # rows 0 and 3 of 4
    assert (teacher.abstained, teacher.abstention_rate) == (1, 0.25)
    assert teacher.confusion == ((1, 0, 0, 0), (1, 0, 0, 1), (0, 0, 1, 0))
    bad, fair = teacher.per_class["bad"], teacher.per_class["fair"]
    assert (bad.precision, bad.recall, bad.f1, bad.support) == (0.5, 1.0, pytest.approx(2 / 3), 1)
    assert (fair.precision, fair.recall, fair.f1, fair.support) == (0.0, 0.0, 0.0, 2)
    assert teacher.f1_macro == pytest.approx((2 / 3 + 0 + 1) / 3)
    low, high = teacher.accuracy_ci95
    assert low < 0.5 < high
    assert scores.most_frequent is not None
    assert (scores.most_frequent.label, scores.most_frequent.share) == ("fair", 0.5)


def test_calibration_is_over_decided_rows_and_plain_votes_have_none() -> None:
    scores = evaluate(GOLD, LABELS, None)
    assert scores.teacher is not None and scores.teacher_raw is not None and scores.calibration is not None
    # Two right rows at 0.95 and a wrong one at 0.65: (2 * 0.05 + 1 * 0.65) / 3.
    assert scores.teacher.ece == pytest.approx(0.25)
    assert scores.teacher_raw.ece is None
    assert scores.teacher_raw.accuracy == 0.75
    assert scores.teacher_raw.abstained == 1
    assert (scores.calibration.difference, scores.calibration.within_noise) == (-0.25, True)
    undecided = [row(0, None, split="gold", gold="bad"), row(1, None, split="gold", gold="bad")]
    without = evaluate(undecided, LABELS, None).teacher
    assert without is not None and without.ece is None


def test_a_student_is_scored_in_its_own_label_order() -> None:
    student = FixedStudent(["bad", "fair", "fair", "bad"], labels=["good", "bad", "fair"])
    score = evaluate(GOLD, LABELS, student).student  # type: ignore[arg-type]
    assert score is not None and score.accuracy == 0.75
    assert score.confusion == ((1, 0, 0, 0), (0, 2, 0, 0), (1, 0, 0, 0))
    assert score.ece == pytest.approx(0.05)  # stated 0.8, right 0.75
    assert score.abstained == 0


def compared(gold: list[Consensus], answers: Sequence[str]) -> tuple[Evaluation, TeacherComparison]:
    evaluation = evaluate(gold, LABELS, FixedStudent(answers))  # type: ignore[arg-type]
    assert evaluation.comparison is not None
    return evaluation, evaluation.comparison


def test_student_and_teacher_are_compared_in_one_plain_sentence() -> None:
    # 40 rows: the teacher is right on 30, the student on 29; they differ on 4 + 3 rows.
    gold = [row(i, "bad" if i < 30 else "fair", split="gold", gold="bad") for i in range(40)]
    evaluation, comparison = compared(gold, ["fair"] * 4 + ["bad"] * 29 + ["fair"] * 7)
    assert comparison.difference_ci95 == pytest.approx((-0.1556, 0.108), abs=1e-4)
    assert comparison.agreement_ci95 == pytest.approx((0.6805, 0.9125), abs=1e-3)
    assert (comparison.difference, comparison.agreement, comparison.voted_rows) == (-0.025, 33 / 40, 40)
    assert comparison.apart == Apart(student=3, teacher=4, neither=0)
    assert (comparison.p_value, comparison.within_noise) == (1.0, True)
    assert votes_sentence(comparison) == (
        "It gives the voted label on 82.5 % (68.1 to 91.3) of the 40 rows that have one; on the other 7 the student "
        "is right 3 times, its teacher 4 times, neither 0 times."
    )
    assert comparison_sentence(evaluation) == (
        "The student is 2.5 points below its teacher (72.5 % against 75.0 %) on 40 gold rows; p = 1.00, within noise."
    )


def test_a_difference_beyond_chance_is_called_one() -> None:
    gold = [row(i, "fair", split="gold", gold="bad") for i in range(11)]
    evaluation, comparison = compared(gold, ["bad"] * 11)
    assert comparison.p_value == pytest.approx(2 / 2**11)
    assert comparison.within_noise is False
    sentence = str(comparison_sentence(evaluation))
    assert "100.0 points above its teacher" in sentence
    assert sentence.endswith("p < 0.001, more than noise.")


def test_a_student_is_held_against_votes_where_there_are_any() -> None:
    gold = [row(0, None, split="gold", gold="bad"), row(1, "fair", split="gold", gold="bad")]
    _, comparison = compared(gold, ["bad", "good"])
    assert (comparison.agreement, comparison.apart) == (0.0, Apart(student=0, teacher=0, neither=1))
    said = str(votes_sentence(comparison))
    assert "of the one row that has one; on the other 1 the student is right 0 times" in said
    assert votes_sentence(compared(gold[:1], ["bad"])[1]) is None


def test_equal_accuracies_are_called_level() -> None:
    evaluation, _ = compared([row(0, "bad", split="gold", gold="bad")], ["bad"])
    assert comparison_sentence(evaluation) == (
        "The student is level with its teacher (100.0 % both) on 1 gold row; p = 1.00, within noise."
    )


def test_seeds_have_their_mean_and_spread() -> None:
    gold = [row(i, "bad", split="gold", gold="bad") for i in range(4)]
    first, second = (FixedStudent(answers) for answers in (["bad"] * 4, ["bad"] * 3 + ["fair"]))
    seeds = evaluate(gold, LABELS, first, other_seeds=[second]).student_seeds  # type: ignore[arg-type,list-item]
    assert seeds is not None and seeds.accuracy == (1.0, 0.75)
    assert seeds_sentence(seeds) == "2 seeds: mean accuracy 87.5 %, standard deviation 17.7 points."


def test_an_evaluation_reads_back_as_it_was_written(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert read_evaluation(folder) is None
    evaluation, _ = compared(GOLD, ["bad", "fair", "fair", "bad"])
    served = evaluation.with_serving({"texts": 4, "wall_s": 0.5, "texts_per_s": 8.0})
    write_json(folder.evaluation, served.as_json())
    assert read_evaluation(folder) == served


def test_labels_that_do_not_match_the_task_are_refused() -> None:
    with pytest.raises(InputError, match="gold label 'ugly' is not one of"):
        evaluate([row(0, "bad", split="gold", gold="ugly")], LABELS, None)
    with pytest.raises(ModelError, match="train it anew"):
        evaluate(GOLD, LABELS, FixedStudent(["bad"] * 4, labels=["bad", "fair"]))  # type: ignore[arg-type]
