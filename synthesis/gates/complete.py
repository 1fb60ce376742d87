"""Takes out texts that were cut off at `max_tokens`."""

from collections.abc import Sequence

from xpoll.core.config.task import Section
from xpoll.synthesis.gates.gate import Candidate, Check


class CompleteOptions(Section):
    """It has no settings."""


def make(_options: CompleteOptions, _labels: Sequence[str]) -> Check:
    """The check."""
    return _cut_off


def _cut_off(candidate: Candidate) -> str | None:
    return f"cut off after {candidate.output_tokens} tokens" if candidate.finish_reason == "length" else None
