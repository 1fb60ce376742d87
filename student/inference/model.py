"""A student folder as a classifier: texts to probabilities."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xpoll.core.errors import ModelError
from xpoll.core.files import json_value
from xpoll.student.calibration import read_temperature, softmax
from xpoll.student.inference.close_calls import close_calls, close_lead
from xpoll.student.inference.forward import forward_of
from xpoll.student.inference.logits import Forward, logits, longest_text
from xpoll.student.inference.openvino_runtime import FP32, RUNTIMES, OpenVinoForward
from xpoll.student.inference.outputs import OutputColumn, ResultRow, label_columns
from xpoll.student.training.encoder import load_student, reads_pairs

CLOSE_BATCH = 4
"""Close calls are so few that larger batches would leave cores without work."""


class StudentModel:
    """A fine-tuned classifier, ready to predict.

    `labels` are in the order of the columns of `probabilities`. `runtime` is pytorch, onnx or one
    of openvino_runtime.RUNTIMES. `device` is one that the runtime knows; without it PyTorch takes all
    accelerators, or the CPU, and the others take the CPU. Close calls of INT8 are computed again in fp32.

    Raises:
        ModelError: the folder holds no student, or none that was exported for the runtime.
        ConfigError: the runtime is not installed, or has no such device.
    """

    def __init__(self, folder: Path, *, runtime: str = "pytorch", device: str | None = None) -> None:
        self.labels = labels_of(folder)
        self.temperature = read_temperature(folder)
        self._encoder = load_student(str(folder))
        self._forward: Forward
        self._exact: Forward | None = None
        self.num_again = 0
        """Texts that were computed again, since the student was loaded."""
        if runtime in RUNTIMES:
            self._forward = OpenVinoForward(folder, runtime, device=device or "CPU")
            if runtime != FP32:
                self._close = close_lead(folder, RUNTIMES[runtime])
                self._exact = OpenVinoForward(folder, FP32, device=device or "CPU", in_fp32=True)
        else:
            self._forward = forward_of(folder, self._encoder, runtime=runtime, device=device)

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """One row per text in input order, one float32 column per label; rows sum to 1. Long texts are cut."""
        found = logits(self._encoder, texts, forward=self._forward)
        if self._exact is not None:
            again = close_calls(found, self._close)
            few = [texts[i] for i in again]
            found[again] = logits(self._encoder, few, forward=self._exact, batch=CLOSE_BATCH)
            self.num_again += len(again)
        return softmax(found, self.temperature)

    @property
    def columns(self) -> list[OutputColumn]:
        """What is written of a text: its label, how sure that is, and the probability of each label."""
        return label_columns(self.labels)

    def compute(self, texts: Sequence[str]) -> np.ndarray:
        """As `probabilities`."""
        return self.probabilities(texts)

    def rows(self, values: Sequence[dict[str, Any]], _texts: Sequence[str], found: np.ndarray) -> list[ResultRow]:
        """Rows to write, of what `compute` found."""
        best = found.argmax(1).tolist()
        return [
            ResultRow(each, self.labels[place], shares[place], shares, None)
            for each, place, shares in zip(values, best, found.tolist(), strict=True)
        ]

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


def labels_of(folder: Path) -> list[str]:
    """Names of the outputs of a student's model, in their order.

    Raises:
        ModelError: the folder's config.json names none.
    """
    mend = "train one with xpoll train"
    try:
        named = json_value((folder / "config.json").read_text(encoding="utf-8")).get("id2label") or {}
        labels = [str(named[str(i)]) for i in range(len(named))]
    except OSError as error:
        raise ModelError(f"{folder} is no student: it holds no config.json", mend=mend) from error
    except (ValueError, KeyError, AttributeError) as error:
        raise ModelError(f"{folder} is no student: its config.json cannot be read", mend=mend) from error
    if not labels or all(label == f"LABEL_{i}" for i, label in enumerate(labels)):
        raise ModelError(f"{folder} is no student: its config.json names no labels", mend=mend)
    return labels
