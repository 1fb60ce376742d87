"""Takes out texts that were written before, whatever their case and spacing."""

from collections.abc import Sequence
from hashlib import blake2b

from xpoll.core.config.task import Section
from xpoll.core.sameness import folded
from xpoll.synthesis.gates.gate import Candidate, Check


class DuplicatesOptions(Section):
    """It has no settings."""


def make(_options: DuplicatesOptions, _labels: Sequence[str]) -> Check:
    """The check."""
    first: dict[bytes, str] = {}

    def check(candidate: Candidate) -> str | None:
        digest = blake2b(folded(candidate.text).encode("utf-8", "surrogatepass"), digest_size=16).digest()
        before = first.setdefault(digest, candidate.text_id)
        return None if before == candidate.text_id else f"the same text as {before}"

    return check
