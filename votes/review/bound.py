"""How accurate labels are at least, given what people found in a stratified sample of them.

The sample has almost the same share of every stratum (see `sample`). The number of wrong labels in it is
then a sum of independent draws, and no sum of such draws with the same mean is as often small as a
binomial one (Hoeffding 1956, theorem 4; a draw without replacement is such a sum too: Vatutin and
Mikhailov 1982). Clopper and Pearson's bound on a binomial share therefore holds, whatever the strata
are like and however many documents there are.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

ALPHA = 0.05


class Stratum(NamedTuple):
    """How many documents there are and how many of them were drawn."""

    documents: int
    sampled: int


class Certificate(NamedTuple):
    """What the sample allows to say of all labels it was drawn from, each with 95 % confidence.

    `voted_at_least` is of the labels as they were voted, `at_least` of the labels with people's corrections.
    `estimate` is the share right in the sample.
    """

    documents: int
    sampled: int
    wrong: int
    unanswered: int
    estimate: float
    voted_at_least: float
    at_least: float


def certify(strata: Sequence[Stratum], *, wrong: int, unanswered: int = 0, alpha: float = ALPHA) -> Certificate:
    """The bound for one audit.

    Args:
        strata: What was drawn from what; every stratum has at least one document in the sample.
        wrong: Documents of the sample whose label people found wrong.
        unanswered: Documents of the sample that nobody labelled; they count as wrong.
        alpha: How often the bound may fail.
    """
    documents = sum(stratum.documents for stratum in strata)
    sampled = sum(stratum.sampled for stratum in strata)
    # Strata of whole documents cannot have exactly the same share drawn; the smallest share decides.
    per_draw = max(stratum.documents / stratum.sampled for stratum in strata)
    most_wrong = per_draw * sampled * largest_share(wrong + unanswered, sampled, alpha)
    most_wrong = min(most_wrong, wrong + unanswered + documents - sampled)
    return Certificate(
        documents,
        sampled,
        wrong,
        unanswered,
        estimate=1 - (wrong + unanswered) / sampled,
        voted_at_least=max(0.0, 1 - most_wrong / documents),
        at_least=max(0.0, 1 - (most_wrong - wrong) / documents),
    )


def largest_share(hits: int, draws: int, alpha: float) -> float:
    """The largest share under which so few hits come up in a share `alpha` of all samples (Clopper-Pearson)."""
    if hits >= draws:
        return 1.0
    low, high = hits / draws, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _at_most(hits, draws, middle) > alpha else (low, middle)
    return high


def _at_most(hits: int, draws: int, share: float) -> float:
    """P(X <= hits) for X ~ Binomial(draws, share), share in 0..1."""
    if share >= 1:
        return 0.0
    if share <= 0:
        return 1.0
    logs = [
        math.lgamma(draws + 1) - math.lgamma(k + 1) - math.lgamma(draws - k + 1)
        + k * math.log(share) + (draws - k) * math.log1p(-share)
        for k in range(hits + 1)
    ]  # fmt: skip
    return math.fsum(map(math.exp, logs))
