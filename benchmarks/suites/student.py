"""A student of recorded votes, ingredient by ingredient; how fast it trains and serves.

Reads the phrasebank files of the suite `votes`. Students are trained on the train sentences and their
recorded answers. Experts' labels score the test sentences and do nothing else: no choice, no stop and
no temperature comes from them, and the experts' labels of train sentences are not read at all.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from xpoll.benchmarks.runner.records import Parameters, Record
from xpoll.benchmarks.workloads.recording import LABELS
from xpoll.benchmarks.workloads.student_arms import (
    ARMS,
    IPEX,
    PLAIN_LOOP,
    Sentences,
    read_sentences,
    reasons_of,
    rows_of,
    settings,
)
from xpoll.benchmarks.workloads.student_serving import measure_serving
from xpoll.benchmarks.workloads.student_throughput import measure_throughput, plain_student
from xpoll.core import statistics
from xpoll.core.config import StudentConfig
from xpoll.core.progress import say
from xpoll.student.calibration import softmax
from xpoll.student.folder import other_seeds


def measure(parameters: Parameters) -> Iterator[Record]:
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
        if "hard" in means and PLAIN_LOOP in means:
            lost = 100 * (means[PLAIN_LOOP] - means["hard"])
            yield {"arm": PLAIN_LOOP, "split": "test", "points_lost_to_plain_loop": lost}
    if "throughput" in parts:
        yield from measure_throughput(train.texts, train.labels, parameters)
    if "serving" in parts:
        yield from measure_serving(train, test, parameters)


def _teacher(test: Sentences) -> Record:
    found = statistics.accuracy(test.teacher, test.labels)
    return {"arm": "teacher", "split": "test", "teacher_accuracy": found.value, "accuracy_ci95": found.as_list()}


def _arm(arm: str, train: Sentences, test: Sentences, parameters: Parameters) -> Iterator[Record]:
    """One record a seed, then one for all seeds."""
    import torch

    if parameters["threads"]:
        torch.set_num_threads(parameters["threads"])
    config = settings(parameters, **ARMS[arm], seeds=parameters["seeds"])
    say(f"student of recorded votes: {arm}, {config.seeds} seeds")
    if arm == PLAIN_LOOP:
        shares, training = _of_plain_loop(train, test, config), {"rows": len(train.texts)}
    else:
        shares, training = _of_xpoll(arm, train, test, config)
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


def _of_xpoll(arm: str, train: Sentences, test: Sentences, config: StudentConfig) -> tuple[list[np.ndarray], Record]:
    """Distributions of the test sentences by each seed, and what training.json says."""
    from xpoll.student.train import train_student

    with tempfile.TemporaryDirectory() as folder:
        student = Path(folder) / "student"
        rows, reasons = rows_of(arm, train), reasons_of(train)
        training = train_student(rows, LABELS, config=config, seed=0, output=student, reasons=reasons)
        return [_probabilities(place, test) for place in (student, *other_seeds(student))], training


def _of_plain_loop(train: Sentences, test: Sentences, config: StudentConfig) -> list[np.ndarray]:
    from xpoll.student.inference.logits import logits

    found = []
    for seed in range(config.seeds):
        encoder, _ = plain_student(train.texts, train.labels, config.encoder, epochs=config.epochs, seed=seed)
        found.append(softmax(logits(encoder, test.texts)))
    return found


def _numbers(training: Record) -> Record:
    return {name: training.get(name, 0) for name in ("rows", "pruned", "self_trained")}


def _probabilities(student: Path, test: Sentences) -> np.ndarray:
    from xpoll.student.inference.model import StudentModel

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
