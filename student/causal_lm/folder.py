"""What lies in the folder of a fine-tuned language model."""

from pathlib import Path

from xpoll.core.errors import ModelError
from xpoll.core.results import read_result
from xpoll.student.causal_lm.record import CausalTraining
from xpoll.student.folder import MARKER, SEEDS, is_generative

ADAPTER = "adapter"
"""Folder in a student's folder with its LoRA weights, which the model beside it has merged."""


def read_causal_training(student: Path) -> CausalTraining:
    """What the training of a language model says of itself.

    Raises:
        ModelError: it was not trained by xpoll.
        RunFolderError: training.json is of another version.
    """
    if not is_generative(student):
        raise ModelError(f"{student} holds no fine-tuned language model", mend="train one with xpoll train")
    return read_result(student / MARKER, CausalTraining, step="train")


def other_adapters(student: Path) -> list[Path]:
    """Folders of the LoRA weights that were trained beside this student, in the order of their seeds."""
    return sorted((student / SEEDS).glob("*"), key=lambda path: int(path.name))
