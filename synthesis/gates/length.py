"""Takes out texts that are too short or too long for their template."""

from collections.abc import Sequence

from pydantic import Field

from xpoll.core.config.task import Section
from xpoll.synthesis.gates.gate import Candidate, Check


class LengthOptions(Section):
    """[synthesis.gates.length]."""

    least_chars: int | None = Field(default=None, ge=0)
    """Fewest characters; the template's without it."""
    most_chars: int | None = Field(default=None, ge=1)
    """Most characters; the template's without it."""


def make(options: LengthOptions, _labels: Sequence[str]) -> Check:
    """The check."""

    def check(candidate: Candidate) -> str | None:
        header, length = candidate.template.header, len(candidate.text.strip())
        least = header.shortest_chars if options.least_chars is None else options.least_chars
        most = header.longest_chars if options.most_chars is None else options.most_chars
        if length < max(1, least):
            return f"{length} characters, at least {max(1, least)} are wanted"
        return f"{length} characters, at most {most} are wanted" if length > most else None

    return check
