"""The order in which a prompt names the labels, and how much the answers follow it.

A model prefers some places in a list whatever stands there. Over a document's samples, or over many
documents, each label is named equally often in each place, so that the preference falls on all labels
alike; and because it does, the places of the labels that were voted show how strong it is.

Orders are rotations of the task's order: there are only as many as labels, so prompts that begin with
the labels have as many shared prefixes a persona, not a factorial of them.
"""

import hashlib
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from core.records import Vote


def label_order(labels: Sequence[str], document_id: str, persona_id: str, sample: int, seed: int) -> list[str]:
    """The labels, rotated: by a hash of seed, document and persona, and by one more for each sample.

    Any `len(labels)` samples in a row name each label once in each place. The same arguments give the
    same order on every machine and in every session.
    """
    asked = f"{seed}\x1f{document_id}\x1f{persona_id}".encode()
    start = int.from_bytes(hashlib.blake2b(asked, digest_size=8).digest(), "little")
    place = (start + sample) % len(labels)
    return [*labels[place:], *labels[:place]]


class PositionBias(NamedTuple):
    """How often the voted label stood in each place of the order that was shown.

    Attributes:
        counts: Votes for the label in each place, first to last.
        shares: The same as shares of all votes; each is 1 / places without a bias.
        chi_square: Pearson's statistic against equal shares.
        p_value: How likely a statistic this large is without a bias.
    """

    counts: list[int]
    shares: list[float]
    chi_square: float
    p_value: float

    @property
    def largest_gap(self) -> float:
        """Largest distance of a share from an equal one: the effect's size, which does not grow with the votes."""
        return max(abs(share - 1 / len(self.shares)) for share in self.shares)


def position_bias(votes: Iterable[Vote], labels: Sequence[str], *, seed: int) -> PositionBias | None:
    """The bias of votes whose prompts named the labels by `label_order`; None without a readable vote.

    Rotation makes every place equally likely for every label, so unequal shares are the place's doing
    and not the labels'. The samples of one persona on one document see different places and mostly
    name the same label; where there are several, the p-value is larger than it need be, never smaller.
    """
    counts = [0] * len(labels)
    for vote in votes:
        if vote.label is not None:
            shown = label_order(labels, vote.document_id, vote.persona_id, vote.sample, seed)
            counts[shown.index(vote.label)] += 1
    total = sum(counts)
    if not total:
        return None
    expected = total / len(counts)
    chi_square = sum((count - expected) ** 2 for count in counts) / expected
    return PositionBias(
        counts, [count / total for count in counts], chi_square, chi_square_p(chi_square, len(counts) - 1)
    )


def chi_square_p(statistic: float, degrees: int) -> float:
    """P(X > statistic) for a chi-square variable: a finite sum for whole degrees of freedom, at least 1.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.4.4 and 26.4.5.
    """
    half = statistic / 2
    odd = degrees % 2
    tail = math.erfc(math.sqrt(half)) if odd else 0.0
    for i in range(degrees // 2):
        power = i + odd / 2
        if half > 0 or power == 0:
            tail += math.exp(-half + (power * math.log(half) if power else 0.0) - math.lgamma(power + 1))
    return min(1.0, tail)
