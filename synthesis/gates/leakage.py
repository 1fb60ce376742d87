"""Takes out texts in which the name of their label stands: a student would learn the name and nothing else."""

import re
from collections.abc import Sequence
from functools import lru_cache

from xpoll.core.config.task import Section
from xpoll.synthesis.gates.gate import Candidate, Check


class LeakageOptions(Section):
    """[synthesis.gates.leakage]."""

    any_label: bool = False
    """Also take out texts in which another label's name stands."""


def make(options: LeakageOptions, labels: Sequence[str]) -> Check:
    """The check."""

    def check(candidate: Candidate) -> str | None:
        if candidate.label is None:
            return None
        for label in labels if options.any_label else [candidate.label]:
            if found := _names(label).search(candidate.text):
                return f"the label's name stands in it: {found[0]!r}"
        return None

    return check


@lru_cache(maxsize=1024)
def _names(label: str) -> re.Pattern[str]:
    """Finds a label's name: case and what stands between its words do not matter."""
    words = [re.escape(word) for word in re.split(r"[\W_]+", label) if word] or [re.escape(label)]
    between = r"[\W_]{0,3}"
    return re.compile(rf"(?<![^\W_]){between.join(words)}(?![^\W_])", re.IGNORECASE)
