"""Recorded answers of Mixtral-8x7B to financial_phrasebank sentences, with expert labels.

Reads phrasebank/mixtral_train.csv and phrasebank/mixtral_test.csv below a folder that the caller names, with the
columns document_id, text, label_experts, label_simple, label_cot, vote_1 to vote_3 and label_majority_published.
The files are not part of the project: their licence is non-commercial.
"""

import asyncio
import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from xpoll.core.errors import ConfigError
from xpoll.core.records import AnswerSchema, Completion, Prompt, Sampling
from xpoll.engine.backends.backend import BackendSettings
from xpoll.engine.backends.replay import ReplayBackend
from xpoll.engine.devices.find import Device
from xpoll.votes.ballots import Ballots, ballots_of
from xpoll.votes.parse import to_vote

LABELS = ["negative", "neutral", "positive"]
SAMPLES = ["vote_1", "vote_2", "vote_3"]


class Recording(NamedTuple):
    """The sentences of both files, train first.

    Attributes:
        rows: Columns by name, one dict per sentence.
        truth: Index of the experts' label in LABELS, int array (sentences,).
        is_test: Whether a sentence is of the test file, bool array (sentences,).
    """

    rows: list[dict[str, str]]
    truth: np.ndarray
    is_test: np.ndarray

    @property
    def document_ids(self) -> list[str]:
        """Ids of the sentences, in order."""
        return [row["document_id"] for row in self.rows]


class RecordedPanel(NamedTuple):
    """One persona of a recorded poll, and the columns that hold its answers."""

    persona: str
    columns: Sequence[str]


def recording_folder(data: str) -> Path:
    """The folder of the recorded answers.

    Args:
        data: The suite's parameter `data`: the folder that contains phrasebank/.

    Raises:
        ConfigError: the parameter is empty, or a file is missing.
    """
    mend = "--set parameters.data=FOLDER, the folder that contains phrasebank/mixtral_train.csv and mixtral_test.csv"
    if not data:
        raise ConfigError(
            "parameters.data is empty: this suite needs recorded answers that xpoll may not ship", mend=mend
        )
    folder = Path(data) / "phrasebank"
    if missing := [path for path in _paths(folder) if not path.is_file()]:
        raise ConfigError(f"parameters.data: there is no file {missing[0]}", mend=mend)
    return folder


def read_recording(folder: Path) -> Recording:
    """Reads both files of a folder, as `recording_folder` returns it."""
    rows: list[dict[str, str]] = []
    is_test: list[bool] = []
    for number, path in enumerate(_paths(folder)):
        with path.open(encoding="utf-8", newline="") as file:
            read = list(csv.DictReader(file))
        rows += read
        is_test += [number == 1] * len(read)
    return Recording(rows, np.array([LABELS.index(row["label_experts"]) for row in rows]), np.array(is_test))


def recorded_ballots(folder: Path, recording: Recording, panels: Sequence[RecordedPanel]) -> Ballots:
    """The votes of all sentences by some panels.

    Args:
        folder: As `recording_folder` returns it.
        recording: As `read_recording` returns it.
        panels: The panels whose answers are votes.
    """
    votes = [to_vote(answer, LABELS) for panel in panels for answer in replayed(folder, recording, panel)]
    return ballots_of(recording.document_ids, votes, LABELS)


def replayed(folder: Path, recording: Recording, panel: RecordedPanel) -> list[Completion]:
    """The recorded answers of one panel, through the replay backend, by sentence and then by column."""
    options = {"path": [str(path) for path in _paths(folder)], "sample_columns": list(panel.columns)}
    backend = ReplayBackend(BackendSettings("recorded", Device("cpu", 0, "recorded"), "w0", options))
    sampling, schema = Sampling(0.8, 1.0, 128), AnswerSchema(tuple(LABELS))

    async def answers() -> list[Completion]:
        await backend.start()
        return [
            await backend.answer(Prompt(document_id, panel.persona, sample, (), sampling, schema))
            for document_id in recording.document_ids
            for sample in range(len(panel.columns))
        ]

    return asyncio.run(answers())


def _paths(folder: Path) -> list[Path]:
    return [folder / "mixtral_train.csv", folder / "mixtral_test.csv"]
