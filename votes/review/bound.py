"""A lower bound on the accuracy of labels, from what people found in a stratified sample of them.

The sample has almost the same share of every stratum (see `sample`). The number of wrong labels in it is
then a sum of independent draws, and no sum of such draws with the same mean is as often small as a
binomial one (Hoeffding 1956, theorem 4; a draw without replacement is such a sum too: Vatutin and
Mikhailov 1982). Clopper and Pearson's bound on a binomial share therefore holds, whatever the strata
are like and however many documents there are.
"""

from collections.abc import Sequence
from typing import NamedTuple

ALPHA = 0.05


class Stratum(NamedTuple):
    """How many documents there are and how many of them were drawn."""

    documents: int
    sampled: int


class Certificate(NamedTuple):
    """The bounds for all labels that the sample was drawn from, each with 95 % confidence; shares in 0..1.

    Attributes:
        documents: Number of labels.
        sampled: Number of them in the sample.
        wrong: Labels of the sample that people found wrong.
        unanswered: Documents of the sample that nobody labelled.
        estimate: Share right in the sample.
        voted_at_least: Least share right of the labels as they were voted.
        at_least: Least share right of the labels with people's corrections.
    """

    documents: int
    sampled: int
    wrong: int
    unanswered: int
    estimate: float
    voted_at_least: float
    at_least: float


def certify(strata: Sequence[Stratum], *, wrong: int, unanswered: int = 0, alpha: float = ALPHA) -> Certificate:
    """The bounds of one audit.

    Args:
        strata: What was drawn from what; every stratum has at least one document in the sample.
        wrong: Documents of the sample whose label people found wrong.
        unanswered: Documents of the sample that nobody labelled, which count as wrong.
        alpha: How often the bound may fail, in 0..1.

    Raises:
        ValueError: more documents are wrong or unanswered than were drawn, or a stratum has none in the sample.
    """
    documents = sum(stratum.documents for stratum in strata)
    sampled = sum(stratum.sampled for stratum in strata)
    most = min(most_wrong(strata, wrong + unanswered, alpha), wrong + unanswered + documents - sampled)
    return Certificate(
        documents,
        sampled,
        wrong,
        unanswered,
        estimate=1 - (wrong + unanswered) / sampled,
        voted_at_least=max(0.0, 1 - most / documents),
        at_least=max(0.0, 1 - (most - wrong) / documents),
    )


def most_wrong(strata: Sequence[Stratum], wrong: int, alpha: float) -> float:
    """At most so many documents of all strata are wrong if `wrong` of the sample are; need not be a whole number."""
    sampled = sum(stratum.sampled for stratum in strata)
    # Strata of whole documents cannot all have exactly the same share drawn; the smallest share decides.
    per_draw = max(stratum.documents / stratum.sampled for stratum in strata)
    return per_draw * sampled * largest_share(wrong, sampled, alpha)


def largest_share(hits: int, draws: int, alpha: float) -> float:
    """The one-sided upper Clopper-Pearson bound, in 0..1: under a larger share so few hits are rarer than `alpha`.

    Args:
        hits: Draws that hit, 0 to `draws`.
        draws: Number of draws, at least 1.
        alpha: How often the bound may fail, in 0..1.

    Raises:
        ValueError: there are no draws, or more hits than draws.
    """
    from scipy.stats import binomtest

    return float(binomtest(hits, draws, alternative="less").proportion_ci(1 - alpha, method="exact").high)
