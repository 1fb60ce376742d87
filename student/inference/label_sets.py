"""A student folder as what gives each text a set of labels."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xpoll.student.calibration import read_temperature, read_thresholds, sigmoid
from xpoll.student.inference.forward import forward_of
from xpoll.student.inference.logits import logits, longest_text
from xpoll.student.inference.model import labels_of
from xpoll.student.inference.outputs import AnsweredRow, OutputColumn
from xpoll.student.training.encoder import load_student, reads_pairs


class LabelSetModel:
    """A fine-tuned model with a yes or no for each label.

    `labels` are in the order of the columns of `probabilities`; `thresholds` has one for each, from which on it fits.

    Args:
        folder: Student folder.
        runtime: pytorch or onnx.
        device: As the runtime calls it; without it all accelerators, or the CPU.

    Raises:
        ModelError: the folder holds no such student, or it was not exported.
        ConfigError: there is no such device, or the runtime is another one.
    """

    def __init__(self, folder: Path, *, runtime: str = "pytorch", device: str | None = None) -> None:
        self.labels = labels_of(folder)
        self._temperature = read_temperature(folder)
        self.thresholds = np.array(read_thresholds(folder, self.labels))
        self._encoder = load_student(str(folder))
        self._forward = forward_of(folder, self._encoder, runtime=runtime, device=device)

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """(texts, labels) float32: how likely each label fits each text; rows do not sum to 1. Long texts are cut."""
        return sigmoid(logits(self._encoder, texts, forward=self._forward), self._temperature)

    def fitting(self, probabilities: np.ndarray) -> np.ndarray:
        """(texts, labels) bool: which labels fit."""
        made: np.ndarray = probabilities >= self.thresholds
        return made

    def named(self, probabilities: np.ndarray) -> list[list[str]]:
        """The labels that fit each text, in their order."""
        rows = self.fitting(probabilities).tolist()
        return [[label for label, fits in zip(self.labels, row, strict=True) if fits] for row in rows]

    @property
    def reads_pairs(self) -> bool:
        """Whether its texts are pairs (core/pairs.py)."""
        return reads_pairs(self._encoder.model)

    @property
    def longest(self) -> int:
        """Tokens that a text is cut at."""
        return longest_text(self._encoder)

    def num_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens that are read of each text."""
        encoded = self._encoder.encoded(texts, max_length=self.longest)
        return [len(ids) for ids in encoded["input_ids"]]

    @property
    def columns(self) -> list[OutputColumn]:
        """What is written of a text: its labels, and how likely each label of the task fits."""
        return [OutputColumn("labels", "labels"), *(OutputColumn(f"probability_{x}", "number") for x in self.labels)]

    def compute(self, texts: Sequence[str]) -> np.ndarray:
        """As `probabilities`."""
        return self.probabilities(texts)

    def rows(self, values: Sequence[dict[str, Any]], _texts: Sequence[str], found: np.ndarray) -> list[AnsweredRow]:
        """Rows to write, of what `compute` found."""
        named = self.named(found)
        return [
            AnsweredRow(each, [labels, *shares], None)
            for each, labels, shares in zip(values, named, found.tolist(), strict=True)
        ]
