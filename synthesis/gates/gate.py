"""What a gate is: from settings to a check, which sees the texts of a run in order and says what is wrong with each."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from xpoll.core.config.task import Section
from xpoll.synthesis.template import Template


class Candidate(NamedTuple):
    """A text at a gate.

    Attributes:
        text_id: Id of its row.
        text: What was written.
        label: The label that it was written for.
        template: What it was asked for by.
        asked: All that its request says, one message after the other.
        finish_reason: Why the answer ended, as the engine says it.
        output_tokens: Length of the answer.
    """

    text_id: str
    text: str
    label: str | None
    template: Template
    asked: str
    finish_reason: str | None
    output_tokens: int


Check = Callable[[Candidate], str | None]
"""From a text that passed all gates before to what is wrong with it, None if it passes."""


class Gate(NamedTuple):
    """One gate.

    Attributes:
        about: What it takes out, in a few words.
        options: The class of its settings, in [synthesis.gates.NAME].
        make: From settings and the task's labels to a check, anew for each run.
        is_default: Whether it stands where the job does not name it.
    """

    about: str
    options: type[Section]
    make: Callable[[Any, Sequence[str]], Check]
    is_default: bool = True
