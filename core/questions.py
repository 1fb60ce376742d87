"""Questions about each label of a text by itself, answered yes or no, that share the prompt before them."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

YES_NO = ("yes", "no")
"""What a question about one label is answered with."""


@dataclass(frozen=True, slots=True)
class Questions:
    """What is asked behind a prompt's messages, in the last of them, so that all questions share what stands before.

    Attributes:
        each: A question for each choice, whether it fits: YES_NO answers it.
        together: One question for all of them, to engines that cannot be read; a JSON value of the answer's schema
            answers it.
    """

    each: tuple[str, ...]
    together: str


def with_question(messages: tuple[dict[str, str], ...], question: str) -> tuple[dict[str, str], ...]:
    """The messages with a question at the end of the last one, so that the text stands before it."""
    *before, last = messages
    return (*before, {**last, "content": f"{last['content']}\n\n{question}"})


def fitting(choices: Sequence[str], logprobs: Sequence[float]) -> str:
    """The text of an answer to questions: a JSON list of the choices whose yes is likelier than their no.

    Args:
        choices: The choices.
        logprobs: Natural logarithm of the probability of each one's yes.
    """
    return json.dumps([each for each, logprob in zip(choices, logprobs, strict=True) if math.exp(logprob) > 0.5])
