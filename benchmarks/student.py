"""A student of recorded votes, ingredient by ingredient; how fast it trains and serves.

Reads the phrasebank files of the suite `votes`. Students are trained on the train sentences and their
recorded answers. Experts' labels score the test sentences and do nothing else: no choice, no stop and
no temperature comes from them, and the experts' labels of train sentences are not read at all.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.records import Parameters, Record
from benchmarks.student_serving import measure_serving
from benchmarks.student_throughput import measure_throughput
from benchmarks.votes import LABELS, SAMPLES, Panel, read_recording, recorded_ballots, recording_folder
from core import statistics
from core.config import Student
from core.config_file import checked_section
from core.progress import say
from core.records import Consensus
from personas.vote import METHODS
from student.folder import other_seeds

CONFIDENT = 0.9
"""A vote that is less sure than this counts less in the arm `weighted`."""


class Sentences(NamedTuple):
    """The sentences of one file; shares are None for the test sentences, whose votes are not used."""

    texts: list[str]
    labels: list[str]
    """Of the train sentences the published majority of Mixtral's answers, of the test sentences the experts'."""
    shares: np.ndarray | None
    teacher: list[str]
    """The published majority, for both."""


def measure_student(parameters: Parameters) -> Iterator[Record]:
    """Quality by arm and seed, the pair of training loops, and the ways to serve; parameters.parts says which."""
    parts = parameters["parts"]
    train, test = read_sentences(parameters["data"])
    if "quality" in parts:
        yield _teacher(test)
        means: dict[str, float] = {}
        for arm in parameters["arms"]:
            for record in _arm(arm, train, test, parameters):
                yield record
            means[arm] = record[f"{arm}_accuracy_mean"]  # the last one is of all seeds
        if "hard" in means and IPEX in means:
            yield {"arm": IPEX, "split": "test", "ipex_points_off": 100 * abs(means[IPEX] - means["hard"])}
    if "throughput" in parts:
        yield from measure_throughput(train.texts, train.labels, parameters)
    if "serving" in parts:
        yield from measure_serving(train, test, parameters)


def read_sentences(data: str) -> tuple[Sentences, Sentences]:
    """Train and test sentences; the train votes are counted without those of the test sentences.

    Raises:
        ConfigError: the recorded answers are not there.
    """
    folder = recording_folder(data)
    recording = read_recording(folder)
    panels = [Panel("chain_of_thought", SAMPLES), Panel("label_only", ["label_simple"])]
    ballots = recorded_ballots(folder, recording, panels)
    of_train = ~recording.is_test
    shares = METHODS["posterior"](ballots.only(of_train[ballots.document_of]))[of_train]
    rows = np.array(recording.rows, object)
    made = []
    for wanted, column, voted in (
        (of_train, "label_majority_published", shares),
        (recording.is_test, "label_experts", None),
    ):
        chosen = rows[wanted].tolist()
        majority = [row["label_majority_published"] for row in chosen]
        made.append(Sentences([row["text"] for row in chosen], [row[column] for row in chosen], voted, majority))
    return made[0], made[1]


IPEX = "hard_ipex"
HALF, HALF_SELF_TRAINED = "half", "half_self_trained"
ARMS: dict[str, dict[str, Any]] = {
    "hard": {"soft_labels": False},
    IPEX: {"soft_labels": False, "backend": "ipex"},
    "smoothed": {"soft_labels": True},
    "weighted": {"soft_labels": True},
    "soft": {"soft_labels": True},
    "pruned": {"soft_labels": True, "refine": "prune"},
    "distilled": {"soft_labels": True, "refine": "distil"},
    "pruned_self_trained": {"soft_labels": True, "refine": "prune", "self_training": True},
    "pruned_averaged": {"soft_labels": True, "refine": "prune", "average": 3},
    "pruned_ensemble": {"soft_labels": True, "refine": "prune", "ensemble": 5},
    HALF: {"soft_labels": True},
    HALF_SELF_TRAINED: {"soft_labels": True, "self_training": True},
    "averaged": {"soft_labels": True, "average": 3},
    "distilled_averaged": {"soft_labels": True, "refine": "distil", "average": 3},
}
"""What is trained on: the published majority alone; the same by IPEX; with the vote's confidence in place of 1;
weighted by it; the posterior of four answers; that without the votes that unseen students contradict; that times their
distribution; the pruned sentences labelled anew by a student; half of the votes, and with the other half's sentences as
texts without a vote; three trainings averaged into each student; and the mean distribution of five students, which
all seeds of that arm share."""


def rows_of(arm: str, train: Sentences) -> list[Consensus]:
    """The train sentences as voted documents of an arm."""
    assert train.shares is not None
    confidence = train.shares.max(1)
    one_hot = np.eye(len(LABELS))[[LABELS.index(label) for label in train.labels]]
    if arm in ("hard", IPEX):
        targets = one_hot
    elif arm == "smoothed":
        rest = (1 - confidence[:, None]) / (len(LABELS) - 1)
        targets = np.where(one_hot > 0, confidence[:, None], rest)
    elif arm == "weighted":
        targets = one_hot * np.minimum(1, confidence / CONFIDENT)[:, None] ** 4
    else:
        targets = train.shares
    labels: list[str | None] = [LABELS[best] for best in targets.argmax(1)]
    if arm in (HALF, HALF_SELF_TRAINED):
        labels[1::2] = [None] * len(labels[1::2])
    return [
        Consensus(f"train-{i}", "train", text, label, tuple(target), float(max(target)), 4, 0, 1.0)
        for i, (text, label, target) in enumerate(zip(train.texts, labels, targets.tolist(), strict=True))
    ]


def settings(parameters: Parameters, **changes: Any) -> Student:
    """The [student] section of the suite: the parameters `student`, with changes."""
    given = {"encoder": parameters["encoder"], "ipex_python": parameters["ipex_python"]}
    return checked_section(Student, parameters["student"] | given | changes, "parameters.student")


def _teacher(test: Sentences) -> Record:
    found = statistics.accuracy(test.teacher, test.labels)
    return {"arm": "teacher", "split": "test", "teacher_accuracy": found.value, "accuracy_ci95": found.as_list()}


def _arm(arm: str, train: Sentences, test: Sentences, parameters: Parameters) -> Iterator[Record]:
    """One record a seed, then one for all seeds."""
    import torch

    from student.train import train_student

    if parameters["threads"]:
        torch.set_num_threads(parameters["threads"])
    config = settings(parameters, **ARMS[arm], seeds=parameters["seeds"])
    say(f"student of recorded votes: {arm}, {config.seeds} seeds")
    with tempfile.TemporaryDirectory() as folder:
        student = Path(folder) / "student"
        training = train_student(rows_of(arm, train), LABELS, config=config, seed=0, output=student)
        shares = [_probabilities(place, test) for place in (student, *other_seeds(student))]
    accuracies = []
    for seed, found in enumerate(shares):
        record = _scores(found, test)
        accuracies.append(record["accuracy"])
        yield {"arm": arm, "seed": seed, "split": "test", **_numbers(training), **record}
    mean, spread = statistics.mean_and_spread(accuracies)
    together = _scores(np.mean(shares, axis=0), test)
    yield {
        "arm": arm,
        "split": "test",
        "seeds": len(accuracies),
        f"{arm}_accuracy_mean": mean,
        f"{arm}_accuracy_sd": spread,
        "average_of_seeds_accuracy": together["accuracy"],
        "average_of_seeds_ece": together["ece"],
    }


def _numbers(training: Record) -> Record:
    return {name: training[name] for name in ("rows", "pruned", "self_trained")}


def _probabilities(student: Path, test: Sentences) -> np.ndarray:
    from student.predict import StudentModel

    return StudentModel(student).probabilities(test.texts)


def _scores(shares: np.ndarray, test: Sentences) -> Record:
    answered = [LABELS[best] for best in shares.argmax(1)]
    right = [mine == real for mine, real in zip(answered, test.labels, strict=True)]
    teacher_right = [mine == real for mine, real in zip(test.teacher, test.labels, strict=True)]
    return {
        "accuracy": statistics.accuracy(answered, test.labels).value,
        "f1_macro": statistics.f1_macro(answered, test.labels, LABELS).value,
        "ece": statistics.expected_calibration_error(shares.max(1).tolist(), right),
        "p_against_teacher": statistics.mcnemar_p(right, teacher_right),
    }
