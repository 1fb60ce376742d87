"""The recorded sentences of the suite `student`, and what each arm takes of them to train on."""

from typing import Any, NamedTuple

import numpy as np

from xpoll.benchmarks.runner.records import Parameters
from xpoll.benchmarks.workloads.recording import (
    LABELS,
    SAMPLES,
    RecordedPanel,
    read_recording,
    recorded_ballots,
    recording_folder,
)
from xpoll.core.config import StudentConfig
from xpoll.core.config_file import checked_section
from xpoll.core.records import Consensus
from xpoll.votes.consensus import METHODS

REASONS = ["reason_1", "reason_2", "reason_3"]
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
    reasons: list[list[str]]
    """Those that Mixtral stated for its three chains of thought; none of the test sentences."""


def read_sentences(data: str) -> tuple[Sentences, Sentences]:
    """Train and test sentences; the train votes are counted without those of the test sentences.

    Raises:
        ConfigError: the recorded answers are not there.
    """
    folder = recording_folder(data)
    recording = read_recording(folder)
    panels = [RecordedPanel("chain_of_thought", SAMPLES), RecordedPanel("label_only", ["label_simple"])]
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
        reasons = [] if voted is None else [[row[name] for name in REASONS if row.get(name)] for row in chosen]
        texts, labels = [row["text"] for row in chosen], [row[column] for row in chosen]
        made.append(Sentences(texts, labels, voted, majority, reasons))
    return made[0], made[1]


def reasons_of(train: Sentences) -> dict[str, list[str]]:
    """The stated reasons of each of the documents that `rows_of` makes, by its id."""
    return {f"train-{i}": reasons for i, reasons in enumerate(train.reasons)}


IPEX = "hard_ipex"
PLAIN_LOOP = "plain_loop"
HALF, HALF_SELF_TRAINED = "half", "half_self_trained"
COTRAINED = {"soft_labels": True, "refine": "cotrain", "judges": 3, "folds": 5}
CONTRASTED = {"soft_labels": True, "refine": "prune", "contrast": 0.3, "mixup": 0.5}
PROBED = CONTRASTED | {"linear_probe": True, "judges": 3, "folds": 5}
UNLIKE = [{}, {"frozen": 1, "dropout": 0.1}, {"frozen": 1, "learning_rate": 5e-5, "epochs": 4}]
LONGER = [
    {"epochs": 5},
    {"epochs": 5, "frozen": 1, "dropout": 0.1},
    {"epochs": 6, "frozen": 1, "learning_rate": 5e-5},
]
ARMS: dict[str, dict[str, Any]] = {
    "hard": {"soft_labels": False},
    IPEX: {"soft_labels": False, "backend": "ipex"},
    PLAIN_LOOP: {"soft_labels": False},
    "smoothed": {"soft_labels": True},
    "weighted": {"soft_labels": True},
    "soft": {"soft_labels": True},
    "pruned": {"soft_labels": True, "refine": "prune"},
    "judged": {"soft_labels": True, "refine": "prune", "judges": 3, "folds": 5},
    "cotrained": COTRAINED,
    "distilled": {"soft_labels": True, "refine": "distil"},
    "pruned_self_trained": {"soft_labels": True, "refine": "prune", "self_training": True},
    "pruned_averaged": {"soft_labels": True, "refine": "prune", "average": 3},
    "pruned_ensemble": {"soft_labels": True, "refine": "prune", "ensemble": 5},
    "judged_ensemble": {"soft_labels": True, "refine": "prune", "judges": 3, "folds": 5, "ensemble": 5},
    "cotrained_ensemble": COTRAINED | {"ensemble": 4, "members": UNLIKE, "variants": 2},
    "contrasted": CONTRASTED,
    "contrasted_ensemble": CONTRASTED | {"ensemble": 4, "members": UNLIKE, "variants": 2},
    "longer_ensemble": CONTRASTED | {"ensemble": 4, "members": LONGER, "variants": 2},
    "probed": PROBED,
    "probed_ensemble": PROBED | {"ensemble": 4, "members": UNLIKE, "variants": 2},
    HALF: {"soft_labels": True},
    HALF_SELF_TRAINED: {"soft_labels": True, "self_training": True},
    "averaged": {"soft_labels": True, "average": 3},
    "distilled_averaged": {"soft_labels": True, "refine": "distil", "average": 3},
}
"""What is trained on: the published majority alone; the same by IPEX; by the loop that the part `throughput` holds
training against, which takes nothing but epochs and encoder from the parameters; with the vote's confidence in place
of 1; weighted by it; the posterior of four answers; that without the votes that unseen students contradict; the same
with the mean of three students for each of five parts in place of one for each of three; the mean of what those make
of a text and a classifier of Mixtral's stated reasons of those; the posterior times one student's distribution; the
pruned sentences labelled anew by a student; half of the votes, and with the other half's sentences as texts without a
vote; three trainings averaged into each student; and the mean distribution of five students, which all seeds of that
arm share, of the votes that one and that three judges left; that of four unlike students of the targets with
reasons, for the sentences and two made-up ones of each; and the pruned votes with contrast and mixup as further aims,
alone, through such an ensemble, and through one whose members make five or six passes; and the votes that three judges
left, with these aims and a head that begins as a linear probe, alone and through such an ensemble."""


def rows_of(arm: str, train: Sentences) -> list[Consensus]:
    """The train sentences as voted documents of an arm."""
    assert train.shares is not None
    confidence = train.shares.max(1)
    one_hot = np.eye(len(LABELS))[[LABELS.index(label) for label in train.labels]]
    if arm in ("hard", IPEX, PLAIN_LOOP):
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


def settings(parameters: Parameters, **changes: Any) -> StudentConfig:
    """The [student] section of the suite: the parameters `student`, with changes."""
    given = {"encoder": parameters["encoder"], "ipex_python": parameters["ipex_python"]}
    return checked_section(StudentConfig, parameters["student"] | given | changes, "parameters.student")
