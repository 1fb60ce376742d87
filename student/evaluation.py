"""evaluation.json, typed: how teacher and student score on the gold rows, and the verdict on them."""

from collections.abc import Mapping
from typing import Any, Literal

from xpoll.core.results import Part, Result, read_result
from xpoll.core.run_folder import RunFolder

Interval = tuple[float, float]
"""Lower and upper end of a 95 % interval."""

SIGNIFICANT_P = 0.05
"""A difference with a p-value below this is more than noise."""

Word = Literal["ship", "collect more", "fix the teacher", "label more gold rows", "do not use", "not measured"]
"""What to do with a student; student/verdict.py has the rule. It may be used where the word is "ship" and nowhere else.

    ship                  it has the wanted accuracy
    collect more          it has not, its teacher has: more voted texts teach it
    fix the teacher       it has not, and more votes of this teacher would not help
    label more gold rows  too few gold rows to say how often it is right
    do not use            it is not shown to do better than always answering the most frequent label
    not measured          there are no gold rows, no student, or `xpoll evaluate` did not run
"""

Reason = Literal[
    "not evaluated",
    "no gold rows",
    "no student",
    "interval too wide",
    "student not above the most frequent label",
    "teacher not above the most frequent label",
    "wanted accuracy met",
    "wanted accuracy missed",
    "teacher below wanted accuracy",
    "learning curve flat",
    "student below its teacher",
    "student above its teacher",
]


Measure = Literal["accuracy", "f1_micro"]
"""What a verdict is about: the share of texts whose label is right, or F1 over all labels or spans of all texts."""


class LabelScore(Part):
    """One label's precision, recall and F1, 0 to 1, and its number of gold rows."""

    precision: float
    recall: float
    f1: float
    support: int


class Score(Part):
    """How one rater does on the gold rows; shares are 0 to 1.

    An abstention counts as not right: it stays in the denominator of accuracy and recall. `confusion` has gold labels
    down and the rater's labels across, abstentions in the last column. `ece` is the calibration error over the rows
    that have a label; None for a rater that states no confidence.

    Where a text has several labels or spans, `accuracy` is the share of texts on which all of them are right, and none
    is left out or added; `support` of a label counts its labels or spans, and there is no confusion. Of spans, F1 is
    of those with the right label and both ends; `f1_overlap` is of those that share a character with one of gold of
    the same label, `f1_token_macro` of tokens. `mean_absolute_error` is in steps of a scale, over rows with a label.
    """

    accuracy: float
    accuracy_ci95: Interval
    f1_macro: float
    f1_macro_ci95: Interval
    per_class: dict[str, LabelScore]
    ece: float | None
    confusion: tuple[tuple[int, ...], ...]
    abstained: int
    abstention_rate: float
    f1_micro: float | None = None
    f1_micro_ci95: Interval | None = None
    f1_overlap: float | None = None
    f1_overlap_ci95: Interval | None = None
    f1_token_macro: float | None = None
    f1_token_macro_ci95: Interval | None = None
    mean_absolute_error: float | None = None

    def of(self, measure: Measure) -> tuple[float, Interval]:
        """The value of a measure and its interval.

        Raises:
            ValueError: the rater has none of it.
        """
        value, ends = getattr(self, measure), getattr(self, f"{measure}_ci95")
        if value is None or ends is None:
            raise ValueError(f"no {measure}")
        return value, ends


class MostFrequent(Part):
    """The best answer that is the same for all texts, and what the measure of the verdict says of it.

    Of one label it is the label of most gold rows; of several it is a set, named with commas; of spans it is none.
    """

    label: str
    share: float


class SeedScores(Part):
    """Accuracy of the students of each seed, with mean and sample standard deviation."""

    accuracy: tuple[float, ...]
    accuracy_mean: float
    accuracy_sd: float


class Apart(Part):
    """Gold rows on which the student does not give its teacher's label, by who is right."""

    student: int
    teacher: int
    neither: int

    @property
    def rows(self) -> int:
        """Rows in all."""
        return self.student + self.teacher + self.neither


class Calibration(Part):
    """The vote against the plain majority of the same answers: difference in accuracy, and an exact McNemar p."""

    difference: float
    p_value: float
    within_noise: bool


class TeacherComparison(Part):
    """The student against its teacher on the same gold rows, by the measure of the verdict.

    `difference` is the student's accuracy minus its teacher's, with an interval for paired rows; `p_value` is of an
    exact McNemar test, of F1 of a randomisation test; `within_noise` says that it is 0.05 or more. `agreement` is the
    share of the `voted_rows` (those that the votes gave a label) on which the student gives that label; None where
    there are none.
    """

    difference: float
    difference_ci95: Interval
    p_value: float
    within_noise: bool
    voted_rows: int
    agreement: float | None
    agreement_ci95: Interval | None
    apart: Apart | None


class Verdict(Part):
    """The word, why (what decided it first), and the figures it depends on beside the scores.

    `forecast_gain` is what twice the voted texts are expected to add to the student's accuracy, 0 to 1; None without
    a learning curve.
    """

    word: Word
    reasons: tuple[Reason, ...]
    wanted_accuracy: float | None = None
    forecast_gain: float | None = None

    @property
    def may_be_used(self) -> bool:
        """Whether the student may answer in its teacher's place."""
        return self.word == "ship"


class Serving(Part):
    """How fast the student labelled the gold rows; the first batch's warm-up is inside."""

    texts: int
    wall_s: float
    texts_per_s: float


class Evaluation(Result):
    """evaluation.json. Scores are None without gold rows, those of the student also without a student.

    `teacher` is the vote as xpoll decides it, `teacher_raw` the plain majority of the same answers. `student_seeds` is
    None with one seed.
    """

    schema_version: int = 1
    gold_rows: int
    gold_rows_not_scored: int = 0
    """Rows of the gold file that have no label of the task, or cannot be asked about."""
    labels: tuple[str, ...]
    measure: Measure = "accuracy"
    """What the verdict is about, and the comparison with the teacher."""
    most_frequent: MostFrequent | None = None
    teacher: Score | None = None
    teacher_raw: Score | None = None
    student: Score | None = None
    student_seeds: SeedScores | None = None
    calibration: Calibration | None = None
    comparison: TeacherComparison | None = None
    verdict: Verdict
    serving: Serving | None = None

    def with_serving(self, serving: Mapping[str, Any] | None) -> "Evaluation":
        """The same with the student's rate."""
        return self.model_copy(update={"serving": Serving.model_validate(serving) if serving else None})


NOT_EVALUATED = Verdict(word="not measured", reasons=("not evaluated",))


def read_evaluation(folder: RunFolder) -> Evaluation | None:
    """The run's evaluation; None where `xpoll evaluate` has not run.

    Raises:
        RunFolderError: the file is of another version.
    """
    return read_result(folder.evaluation, Evaluation, step="evaluate") if folder.evaluation.exists() else None


def verdict_in(evaluation: Evaluation | None) -> Verdict:
    """The verdict that terminal, page, Markdown and card show; "not measured" without an evaluation."""
    return evaluation.verdict if evaluation else NOT_EVALUATED
