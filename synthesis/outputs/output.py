"""What an output is: from kept rows to a file or folder that other tools take."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from xpoll.core.config.job import Config
from xpoll.core.formatting import counted, number
from xpoll.synthesis.figures import SynthesisFigures
from xpoll.synthesis.texts import SynthesizedText


class KeptTexts(NamedTuple):
    """What is written out.

    Attributes:
        config: The job.
        figures: What gates took out of the texts.
        texts: Gives the kept rows, anew at each call; of those whose label was voted on, the ones that keep it.
        is_verified: Whether labels were voted on.
    """

    config: Config
    figures: SynthesisFigures
    texts: Callable[[], Iterator[SynthesizedText]]
    is_verified: bool


class WrittenOutput(NamedTuple):
    """An output that was written.

    Attributes:
        path: The file or folder.
        rows: Rows in it.
        left_out: KeptTexts rows that this form has no place for.
    """

    path: Path
    rows: int
    left_out: int = 0

    @property
    def line(self) -> str:
        """In words."""
        left = f"; {number(self.left_out)} have no place in this form" if self.left_out else ""
        return f"wrote {counted(self.rows, 'row')} to {self.path}{left}"


class Output(NamedTuple):
    """One form.

    Attributes:
        about: What it is, behind "also write".
        metavar: What its option takes.
        write: Writes it, whole or not at all.
    """

    about: str
    metavar: str
    write: Callable[[KeptTexts, Path], WrittenOutput]
