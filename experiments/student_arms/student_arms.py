"""Students of recorded votes, ingredient by ingredient, several seeds each.

Students are trained on the train sentences and their recorded answers. Experts' labels score the test sentences and
do nothing else: no choice, no stop and no temperature comes from them, and the experts' labels of train sentences are
not read at all.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from xpoll.benchmarks.runner.records import Parameters, Record
from xpoll.benchmarks.workloads.recording import LABELS
from xpoll.benchmarks.workloads.student_sentences import Sentences, read_sentences, settings, voted_rows
from xpoll.benchmarks.workloads.student_throughput import plain_student
from xpoll.core import statistics
from xpoll.core.config.job import StudentConfig
from xpoll.core.errors import ConfigError
from xpoll.core.progress import say
from xpoll.core.records import Consensus
from xpoll.student.calibration import softmax
from xpoll.student.folder import other_seeds
from xpoll.student.recipe import Recipe, load_recipe

CONFIDENT = 0.9
"""A vote that is less sure than this counts less in the arm `weighted`."""
IPEX = "hard_ipex"
PLAIN_LOOP = "plain_loop"
HALF = "half"


class Arm(NamedTuple):
    """What students of an arm are trained on, and how."""

    targets: Literal["majority", "smoothed", "weighted", "posterior"]
    """The published majority; the vote's confidence in place of 1; weighted by it; the posterior of four answers."""
    recipe: Recipe
    backend: Literal["native", "ipex"] = "native"


def _recipe(**values: Any) -> Recipe:
    return Recipe.model_validate({"dropout": 0.0} | values)


PLAIN = _recipe()
JUDGED = {"prune": {"judges": 3, "folds": 5}}
CONTRASTED = {"prune": {"folds": 3}, "contrast": 0.3, "mixup": 0.5}
FIVE: dict[str, Any] = {"members": [{}] * 5}
UNLIKE = load_recipe("ensemble").ensemble
LONGER = {
    "variants": 2,
    "members": [
        {"more_epochs": 2},
        {"more_epochs": 2, "frozen": 1, "dropout": 0.1},
        {"more_epochs": 3, "frozen": 1, "learning_rate_factor": 0.5},
        {"more_epochs": 2},
    ],
}
ARMS = {
    PLAIN_LOOP: Arm("majority", PLAIN),
    "hard": Arm("majority", PLAIN),
    IPEX: Arm("majority", PLAIN, "ipex"),
    "smoothed": Arm("smoothed", PLAIN),
    "weighted": Arm("weighted", PLAIN),
    "soft": Arm("posterior", PLAIN),
    HALF: Arm("posterior", PLAIN),
    "pruned": Arm("posterior", load_recipe("robust")),
    "judged": Arm("posterior", _recipe(**JUDGED)),
    "contrasted": Arm("posterior", _recipe(**CONTRASTED)),
    "probed": Arm("posterior", _recipe(**CONTRASTED | JUDGED, linear_probe=True)),
    "pruned_ensemble": Arm("posterior", _recipe(prune={}, ensemble=FIVE)),
    "judged_ensemble": Arm("posterior", _recipe(**JUDGED, ensemble=FIVE)),
    "contrasted_ensemble": Arm("posterior", _recipe(**CONTRASTED, ensemble=UNLIKE)),
    "longer_ensemble": Arm("posterior", _recipe(**CONTRASTED, ensemble=LONGER)),
    "probed_ensemble": Arm("posterior", load_recipe("ensemble")),
}
"""`plain_loop` is the loop that the suite `student` holds training against; it takes epochs and encoder from the
parameters and nothing else. `half` has every second sentence's votes. `pruned` and `probed_ensemble` are the recipes
`robust` and `ensemble`."""


def measure(parameters: Parameters) -> Iterator[Record]:
    """The teacher; then per arm one record per seed and one for all seeds, and what arms differ by."""
    if unknown := [arm for arm in parameters["arms"] if arm not in ARMS]:
        raise ConfigError(f"there is no arm {unknown[0]!r}", mend=f"known arms: {', '.join(ARMS)}")
    train, test = read_sentences(parameters["data"])
    yield _teacher(test)
    means: dict[str, float] = {}
    for name in parameters["arms"]:
        for record in _arm(name, train, test, parameters):
            yield record
        means[name] = record[f"{name}_accuracy_mean"]  # the last one is of all seeds
    if "hard" in means and IPEX in means:
        yield {"arm": IPEX, "split": "test", "ipex_points_off": 100 * abs(means[IPEX] - means["hard"])}
    if "hard" in means and PLAIN_LOOP in means:
        lost = 100 * (means[PLAIN_LOOP] - means["hard"])
        yield {"arm": PLAIN_LOOP, "split": "test", "points_lost_to_plain_loop": lost}


def _teacher(test: Sentences) -> Record:
    found = statistics.accuracy(test.teacher, test.labels)
    return {"arm": "teacher", "split": "test", "teacher_accuracy": found.value, "accuracy_ci95": found.as_list()}


def _arm(name: str, train: Sentences, test: Sentences, parameters: Parameters) -> Iterator[Record]:
    """One record per seed, then one for all seeds."""
    import torch

    if parameters["threads"]:
        torch.set_num_threads(parameters["threads"])
    arm = ARMS[name]
    config = settings(
        parameters,
        recipe=name,
        soft_labels=arm.targets != "majority",
        backend=arm.backend,
        seeds=parameters["seeds"],
    )
    say(f"student of recorded votes: {name}, {config.seeds} seeds")
    if name == PLAIN_LOOP:
        shares, numbers = _of_plain_loop(train, test, config), {"rows": len(train.texts), "pruned": 0}
    else:
        shares, numbers = _of_xpoll(name, train, test, config)
    accuracies = []
    for seed, found in enumerate(shares):
        record = _scores(found, test)
        accuracies.append(record["accuracy"])
        yield {"arm": name, "seed": seed, "split": "test", **numbers, **record}
    mean, spread = statistics.mean_and_spread(accuracies)
    together = _scores(np.mean(shares, axis=0), test)
    yield {
        "arm": name,
        "split": "test",
        "seeds": len(accuracies),
        f"{name}_accuracy_mean": mean,
        f"{name}_accuracy_sd": spread,
        "average_of_seeds_accuracy": together["accuracy"],
        "average_of_seeds_ece": together["ece"],
    }


def rows_of(name: str, train: Sentences) -> list[Consensus]:
    """The train sentences as voted documents of an arm."""
    rows = voted_rows(train, _targets(ARMS[name].targets, train))
    if name == HALF:
        rows[1::2] = [row._replace(label=None) for row in rows[1::2]]
    return rows


def _targets(kind: str, train: Sentences) -> np.ndarray:
    """(sentences, labels)."""
    assert train.shares is not None
    if kind == "posterior":
        return train.shares
    one_hot = np.eye(len(LABELS))[[LABELS.index(label) for label in train.labels]]
    confidence = train.shares.max(1, keepdims=True)
    made: np.ndarray = {
        "majority": one_hot,
        "smoothed": np.where(one_hot > 0, confidence, (1 - confidence) / (len(LABELS) - 1)),
        "weighted": one_hot * np.minimum(1, confidence / CONFIDENT) ** 4,
    }[kind]
    return made


def _of_xpoll(name: str, train: Sentences, test: Sentences, config: StudentConfig) -> tuple[list[np.ndarray], Record]:
    """Distributions of the test sentences by each seed, and how many texts were trained on and pruned."""
    from xpoll.student.inference.model import StudentModel
    from xpoll.student.train import train_student

    with tempfile.TemporaryDirectory() as folder:
        student, rows = Path(folder) / "student", rows_of(name, train)
        training = train_student(rows, LABELS, config=config, seed=0, output=student, recipe=ARMS[name].recipe)
        places = (student, *other_seeds(student))
        shares = [StudentModel(place).probabilities(test.texts) for place in places]
    return shares, {"rows": training.rows, "pruned": training.pruned}


def _of_plain_loop(train: Sentences, test: Sentences, config: StudentConfig) -> list[np.ndarray]:
    from xpoll.student.inference.logits import logits

    found = []
    for seed in range(config.seeds):
        encoder, _ = plain_student(train.texts, train.labels, config.encoder, epochs=config.epochs, seed=seed)
        found.append(softmax(logits(encoder, test.texts)))
    return found


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
