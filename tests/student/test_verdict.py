"""One word follows from the figures, and never is it "ship" where the student cannot be told from a constant answer."""

import random

import pytest

from xpoll.student.evaluation import Evaluation, MostFrequent, Score, TeacherComparison, Verdict
from xpoll.student.learning_curve import Forecast
from xpoll.student.verdict import decide
from xpoll.student.wording import verdict_sentence


def score(accuracy: float, half_width: float = 0.03) -> Score:
    return Score(
        accuracy=accuracy,
        accuracy_ci95=(accuracy - half_width, accuracy + half_width),
        f1_macro=accuracy,
        f1_macro_ci95=(accuracy - half_width, accuracy + half_width),
        per_class={},
        ece=None,
        confusion=(),
        abstained=0,
        abstention_rate=0.0,
    )


def against(difference: float, *, within_noise: bool = True) -> TeacherComparison:
    return TeacherComparison(
        difference=difference,
        difference_ci95=(difference - 0.05, difference + 0.05),
        p_value=0.5 if within_noise else 0.001,
        within_noise=within_noise,
        voted_rows=0,
        agreement=None,
        agreement_ci95=None,
        apart=None,
    )


def verdict(
    student: float,
    teacher: float,
    *,
    half_width: float = 0.03,
    share: float = 0.5,
    gain: float | None = None,
    within_noise: bool = True,
) -> Verdict:
    expected = None if gain is None else Forecast(2000, 0.9, gain, 0.05)
    return decide(
        score(teacher),
        score(student, half_width),
        against(student - teacher, within_noise=within_noise),
        MostFrequent(label="fair", share=share),
        wanted=0.9,
        forecast=expected,
    )


@pytest.mark.parametrize(
    ("found", "word", "reason"),
    [
        (verdict(0.92, 0.91), "ship", "wanted accuracy met"),
        (verdict(0.85, 0.80), "fix the teacher", "teacher below wanted accuracy"),
        (verdict(0.85, 0.95), "collect more", "wanted accuracy missed"),
        (verdict(0.85, 0.95, gain=0.02), "collect more", "wanted accuracy missed"),
        (verdict(0.85, 0.95, gain=0.001), "fix the teacher", "learning curve flat"),
        (verdict(0.92, 0.91, half_width=0.15), "label more gold rows", "interval too wide"),
        (verdict(0.92, 0.99, share=0.92), "do not use", "student not above the most frequent label"),
        (verdict(0.93, 0.99, share=0.92), "do not use", "student not above the most frequent label"),
        (verdict(0.58, 0.60, share=0.55), "do not use", "student not above the most frequent label"),
    ],
)
def test_the_word_follows_from_student_teacher_majority_and_curve(found: Verdict, word: str, reason: str) -> None:
    assert (found.word, found.reasons[0]) == (word, reason)
    assert found.may_be_used == (word == "ship")
    evaluation = Evaluation(
        gold_rows=500,
        labels=("bad", "fair"),
        most_frequent=MostFrequent(label="fair", share=0.5),
        teacher=score(0.9),
        student=score(0.9),
        verdict=found,
    )
    said = verdict_sentence(evaluation)
    assert said.startswith("The student gets 90.0 % (87.0 to 93.0) on 500 gold rows")
    assert "90 % is wanted" in said or "90 % wanted" in said or "always answering 'fair'" in said


def test_what_else_holds_is_told_beside_what_decided() -> None:
    assert verdict(0.92, 0.97, within_noise=False).reasons == ("wanted accuracy met", "student below its teacher")
    assert verdict(0.92, 0.87, within_noise=False).reasons == (
        "wanted accuracy met",
        "teacher below wanted accuracy",
        "student above its teacher",
    )
    blind = verdict(0.92, 0.92, share=0.92)
    assert blind.reasons == (
        "student not above the most frequent label",
        "teacher not above the most frequent label",
    )


def test_a_student_that_may_be_blind_or_is_hardly_measured_is_never_shipped() -> None:
    draw = random.Random(0)
    for _ in range(2000):
        student, share, half_width = draw.random(), draw.uniform(0.2, 0.99), draw.uniform(0.005, 0.2)
        found = verdict(student, draw.random(), share=share, half_width=half_width)
        if found.may_be_used:
            assert student - half_width > share and student >= 0.9 and 2 * half_width <= 0.2
