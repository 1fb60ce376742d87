"""Takes out texts that repeat their request: the template's words, or the persona's."""

import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from xpoll.core.config.task import Section
from xpoll.synthesis.gates.gate import Candidate, Check

_WORD = re.compile(r"\w+")


class EchoOptions(Section):
    """[synthesis.gates.echo]."""

    words: Annotated[int, Field(ge=2)] = 5
    """Length of the runs of words that are compared."""
    most_share: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Most of a text's runs that may stand in its request."""


def make(options: EchoOptions, _labels: Sequence[str]) -> Check:
    """The check."""

    def check(candidate: Candidate) -> str | None:
        runs = _runs(candidate.text, options.words)
        if not runs:
            return None
        asked = set(_runs(candidate.asked, options.words))
        repeated = [run for run in runs if run in asked]
        if len(repeated) <= options.most_share * len(runs):
            return None
        return f"{len(repeated)} of {len(runs)} runs of {options.words} words are its request's: {repeated[0]!r}"

    return check


def _runs(text: str, length: int) -> list[str]:
    words = _WORD.findall(text.casefold())
    return [" ".join(words[i : i + length]) for i in range(len(words) - length + 1)]
