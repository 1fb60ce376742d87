"""Takes out texts that are nearly the same as one before, by the Jaccard similarity of their shingles."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from xpoll.core.config.task import Section
from xpoll.personas.near_duplicates import SIMILAR, NearDuplicates
from xpoll.synthesis.gates.gate import Candidate, Check


class NearDuplicatesOptions(Section):
    """[synthesis.gates.near_duplicates]."""

    similarity: Annotated[float, Field(ge=0.5, le=1)] = SIMILAR
    """Jaccard similarity of the sets of five-character shingles from which two texts are near-duplicates."""


def make(options: NearDuplicatesOptions, _labels: Sequence[str]) -> Check:
    """The check."""
    kept = NearDuplicates(options.similarity)
    ids: list[str] = []

    def check(candidate: Candidate) -> str | None:
        found = kept.similar_to(candidate.text)
        if found is None:
            ids.append(candidate.text_id)
            return None
        number, similarity = found
        return f"similar to {ids[number]} ({similarity:.2f})"

    return check
