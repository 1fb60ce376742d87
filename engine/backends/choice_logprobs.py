"""Probability of each choice, from the logprobs of the tokens of one constrained answer.

An engine tells of the NUM_ALTERNATIVES likeliest tokens at each place. With more choices than that the others are
bounds: they share what the told ones left of the probability, and the row says how many they are.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from xpoll.core.records import AnswerSchema

NUM_ALTERNATIVES = 20
"""vLLM's and OpenAI's limit."""

LEAST_PROBABILITY = 1e-9
"""Of a choice that was not told of: it is unlikely, not impossible."""


class ChoiceLogprobs(NamedTuple):
    """What an answer tells of its choices.

    Attributes:
        choice_logprobs: Natural logarithm of each choice's probability, normalised over the choices.
        unread_choices: How many of them are bounds, because the engine told nothing of them.
    """

    choice_logprobs: tuple[float, ...]
    unread_choices: int

    def as_fields(self) -> dict[str, Any]:
        """The fields of a Completion."""
        return self._asdict()


def answer_logprobs(
    tokens: Sequence[str], alternatives: Sequence[Mapping[str, float]], answer: AnswerSchema
) -> ChoiceLogprobs | None:
    """What an answer tells of its choices: a bare choice, or the value of its JSON property; None without choices.

    Args:
        tokens: Text of each token of the answer, in order.
        alternatives: For each token, text and logprob of the likeliest alternatives, itself included.
        answer: The schema of the answer.
    """
    if not answer.choices:
        return None
    start = 0
    if answer.choice_property:
        opening = rf'"{re.escape(answer.choice_property)}"\s*:\s*"'
        found = list(re.finditer(opening, "".join(tokens)))
        if not found:
            return None
        start = found[-1].end()
    return choice_logprobs(tokens, alternatives, answer.choices, start=start)


def choice_logprobs(
    tokens: Sequence[str], alternatives: Sequence[Mapping[str, float]], choices: Sequence[str], *, start: int = 0
) -> ChoiceLogprobs | None:
    """How likely the engine held each choice to be.

    Walks along the answer. At each token, every alternative that matches exactly one choice adds its
    probability to that choice; one that matches several choices is resolved by a later token if the answer
    took it, and is left out otherwise. Since the engine masks tokens that match no choice, the first token of
    two labels usually separates them.

    Args:
        tokens: Text of each token of the answer, in order.
        alternatives: For each token, text and logprob of the likeliest alternatives, itself included.
        choices: The closed set of choices.
        start: Position in the answer, in characters, where the choice begins.

    Returns:
        The choices' logprobs; None if a tenth or more of the probability cannot be attributed to a choice.
    """
    mass = [0.0] * len(choices)
    path_logprob, written, position = 0.0, "", 0
    for token, options in zip(tokens, alternatives, strict=True):
        begin, position = position, position + len(token)
        if position <= start:
            continue
        if begin < start:  # one token contains both the quote and the beginning of the choice
            return None
        for text, logprob in options.items():
            fitting = _fitting(written + text, choices)
            if len(fitting) == 1 and logprob > -math.inf:
                mass[fitting[0]] += math.exp(path_logprob + logprob)
        path_logprob += options[token]
        written += token
        if len(_fitting(written, choices)) <= 1:
            break
    total = sum(mass)
    if total < 0.9 or min(mass) < 0 or total > 1.1:
        return None
    unread = mass.count(0)
    bound = max(LEAST_PROBABILITY, (1 - total) / max(unread, 1))
    shares = [share or bound for share in mass]
    return ChoiceLogprobs(tuple(math.log(share / sum(shares)) for share in shares), unread)


def _fitting(written: str, choices: Sequence[str]) -> list[int]:
    """Indices of the choices that start with `written`; a closing quote ends the choice."""
    ended = written.endswith('"')
    word = written.rstrip('"')
    if not word:
        return list(range(len(choices)))
    return [i for i, choice in enumerate(choices) if (choice == word if ended else choice.startswith(word))]
