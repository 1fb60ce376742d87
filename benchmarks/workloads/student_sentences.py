"""The recorded sentences that students are trained and asked on: Mixtral's answers, and experts' labels."""

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
from xpoll.core.config.file import checked_section
from xpoll.core.config.job import StudentConfig
from xpoll.core.records import Consensus
from xpoll.votes.methods.registry import METHODS


class Sentences(NamedTuple):
    """The sentences of one file; shares are None for the test sentences, whose votes are not used."""

    texts: list[str]
    labels: list[str]
    """Of the train sentences the published majority of Mixtral's answers, of the test sentences the experts'."""
    shares: np.ndarray | None
    """(sentences, labels): the posterior of four answers."""
    teacher: list[str]
    """The published majority, for both."""


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
        made.append(Sentences([row["text"] for row in chosen], [row[column] for row in chosen], voted, majority))
    return made[0], made[1]


def voted_rows(train: Sentences, targets: np.ndarray | None = None) -> list[Consensus]:
    """The train sentences as voted documents.

    Args:
        train: As `read_sentences` gives them.
        targets: (sentences, labels) distributions; the posterior without them.
    """
    chosen = train.shares if targets is None else targets
    assert chosen is not None
    labels = [LABELS[best] for best in chosen.argmax(1)]
    return [
        Consensus(f"train-{i}", "train", text, label, tuple(target), float(max(target)), 4, 0, 1.0)
        for i, (text, label, target) in enumerate(zip(train.texts, labels, chosen.tolist(), strict=True))
    ]


def settings(parameters: Parameters, **changes: Any) -> StudentConfig:
    """The [student] section of the suite: the parameters `student`, with changes."""
    given = {"encoder": parameters["encoder"], "ipex_python": parameters["ipex_python"]}
    return checked_section(StudentConfig, parameters["student"] | given | changes, "parameters.student")
