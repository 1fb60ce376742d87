"""Several labels per text: a yes or no for each, trained on the share of the votes that say that it fits."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xpoll.core import statistics
from xpoll.core.errors import InputError
from xpoll.core.f1 import micro_f1, set_counts
from xpoll.core.records import SetConsensus
from xpoll.student.calibration import FittedTemperature, write_label_sets
from xpoll.student.dataset import TrainingRows, divided
from xpoll.student.evaluation import Evaluation, MostFrequent
from xpoll.student.heads.f1_evaluation import (
    F1Rating,
    check_gold,
    check_same_labels,
    f1_evaluation,
    nothing_scored,
)
from xpoll.student.heads.form import HeadForm
from xpoll.student.heads.head import Head
from xpoll.student.training_record import Forecast


def set_rows(consensus: Sequence[SetConsensus], labels: Sequence[str]) -> TrainingRows:
    """The decided rows of the train split, in order; a label with half of the votes leaves its row in.

    Raises:
        InputError: no row was decided, all got the same set, or a label is not one of `labels`.
    """
    found = divided(consensus, lambda row: row.labels, lambda row: row.gold_labels)
    sets = {tuple(row.labels) for row in found.rows}
    if unknown := sorted({label for each in sets for label in each} - set(labels)):
        raise InputError(
            f"label {unknown[0]!r} is not one of {list(labels)}", mend="write the labels anew with xpoll vote"
        )
    if len(sets) == 1:
        (only,) = sets
        raise InputError(
            f"all {len(found.rows)} decided documents have the labels {list(only)}, and a student needs texts that "
            "differ",
            mend="add documents, or reword task.question and the label descriptions and poll again",
        )
    return found


def set_targets(rows: Sequence[SetConsensus], labels: Sequence[str], *, soft: bool) -> np.ndarray:
    """(rows, labels): the share of the votes for each label, or 1 for those in the set, 0.5 for undecided ones."""
    if soft:
        return np.array([row.shares for row in rows])
    return np.array(
        [
            [1.0 if each in (row.labels or ()) else 0.5 if each in row.undecided else 0.0 for each in labels]
            for row in rows
        ]
    )


def set_label_counts(rows: Sequence[SetConsensus], labels: Sequence[str]) -> dict[str, int]:
    """Number of rows whose set holds each label, in label order."""
    counts = Counter(label for row in rows for label in row.labels or ())
    return {label: counts[label] for label in labels}


def evaluate_sets(
    rows: Sequence[SetConsensus],
    labels: Sequence[str],
    student: Any,
    *,
    other_seeds: Sequence[Any] = (),
    wanted: float = 0.9,
    forecast: Forecast | None = None,
) -> Evaluation:
    """The scores of sets of labels on the gold rows; see `student.evaluate.evaluate` for the arguments.

    An undecided label is not in a set. A text whose votes abstain has no label right, and its set is not right.

    Raises:
        InputError: a gold label is not one of `labels`.
        ModelError: the student's labels are not `labels`.
    """
    gold = [row for row in rows if row.split == "gold" and row.gold_labels is not None]
    not_scored = sum(row.split == "gold" for row in rows) - len(gold)
    if not gold:
        return nothing_scored(not_scored, labels)
    check_gold([label for row in gold for label in row.gold_labels or ()], labels)
    truth = _matrix([row.gold_labels or () for row in gold], labels)
    said = _matrix([row.labels or () for row in gold], labels)
    shares = np.array([row.shares for row in gold])
    answers = [None if row.labels is None else tuple(each) for row, each in zip(gold, said.tolist(), strict=True)]
    votes = F1Rating(answers, set_counts(said, truth), _calibration_error(shares, said, truth))
    texts = [row.text for row in gold]
    rated = [_rated(each, texts, labels, truth) for each in ([] if student is None else [student, *other_seeds])]
    return f1_evaluation(
        labels,
        [tuple(each) for each in truth.tolist()],
        votes,
        rated[0] if rated else None,
        constant=best_constant_set(truth, labels),
        not_scored=not_scored,
        other_seeds=rated[1:],
        wanted=wanted,
        forecast=forecast,
    )


def best_constant_set(truth: np.ndarray, labels: Sequence[str]) -> MostFrequent:
    """The set of the most frequent labels with the best micro F1 where every text gets it.

    Args:
        truth: (texts, labels) bool.
        labels: Their names.
    """
    order = np.argsort(-truth.sum(0), kind="stable")
    scores = []
    for size in range(1, len(labels) + 1):
        named = np.zeros_like(truth)
        named[:, order[:size]] = True
        scores.append(micro_f1(set_counts(named, truth)).value)
    best = int(np.argmax(scores))
    return MostFrequent(label=", ".join(labels[i] for i in sorted(order[: best + 1])), share=scores[best])


def _rated(student: Any, texts: Sequence[str], labels: Sequence[str], truth: np.ndarray) -> F1Rating:
    check_same_labels(student.labels, labels)
    probabilities = student.probabilities(texts)
    named = student.fitting(probabilities)
    answers = [tuple(each) for each in named.tolist()]
    return F1Rating(answers, set_counts(named, truth), _calibration_error(probabilities, named, truth))


def _calibration_error(shares: np.ndarray, named: np.ndarray, truth: np.ndarray) -> float:
    """Over texts and labels: how far the probability of what is said is from how often it is right."""
    confidence = np.where(named, shares, 1 - shares)
    return statistics.expected_calibration_error(confidence.ravel().tolist(), (named == truth).ravel().tolist())


def _matrix(sets: Sequence[Sequence[str]], labels: Sequence[str]) -> np.ndarray:
    return np.array([[label in each for label in labels] for each in sets], bool)


def _objective() -> Any:
    from xpoll.student.training.objectives import LabelSetObjective

    return LabelSetObjective


def _calibrated(encoder: Any, texts: Sequence[str], votes: np.ndarray, folder: Path) -> FittedTemperature:
    from xpoll.student.inference.logits import logits

    names = [encoder.model.config.id2label[i] for i in range(votes.shape[1])]
    return write_label_sets(folder, logits(encoder, texts), votes, names)


def _load(folder: Path, **how: Any) -> Any:
    from xpoll.student.inference.label_sets import LabelSetModel

    return LabelSetModel(folder, **how)


LABEL_SET = Head(
    "label set",
    SetConsensus,
    HeadForm("SequenceClassification", "multi_label_classification"),
    set_rows,
    set_targets,
    set_label_counts,
    _objective,
    _calibrated,
    _load,
    evaluate_sets,
    probe="yes or no",
)
