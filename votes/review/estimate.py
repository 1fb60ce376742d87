"""The share of each label in a pile of texts, from all votes and a random sample that people labelled.

Prediction-powered inference (PPI++): votes about all texts, corrected by what the audit says of the votes. With votes
for or against a label and the best power tuning it is a sum over two cells, the texts that were voted the label and
the others: the cell's share of the pile, which is known, times the label's share in it, which the audit estimates. A
vote that says nothing costs nothing: both cells then have the same share, and the sum is the audit alone.

A normal interval is too short where a cell has few errors. Each cell has Jeffreys' interval here, and the sum is
bounded by the squares of the cells' distances (MOVER).

Sources: Angelopoulos, Duchi, Zrnic, "PPI++", arXiv 2311.01453; Zou, Huang, Zhang, "A note on confidence interval
estimation for a linear function of binomial proportions", Computational Statistics & Data Analysis 53 (2009); Brown,
Cai, DasGupta, "Interval estimation for a binomial proportion", Statistical Science 16 (2001).
"""

from typing import Literal, NamedTuple

import numpy as np

from xpoll.core.statistics import Estimate

ALPHA = 0.05
"""How often an interval may miss."""

NO_LABEL = -1

AuditSource = Literal["review", "gold"]
"""Where audited texts are from: drawn from the pile by `xpoll review`, or the gold rows, which stand beside it."""


class Audit(NamedTuple):
    """Texts with the label that people gave, a random sample.

    Attributes:
        truth: (rows,) number of people's label.
        voted: (rows,) number of the voted label, `NO_LABEL` where the votes abstained.
        weight: (rows,) how many texts each stands for.
        source: Whether the rows are part of the pile.
    """

    truth: np.ndarray
    voted: np.ndarray
    weight: np.ndarray
    source: AuditSource

    def of(self, chosen: np.ndarray) -> "Audit":
        """Some of its rows: (rows,) booleans."""
        return Audit(self.truth[chosen], self.voted[chosen], self.weight[chosen], self.source)


class LabelShare(NamedTuple):
    """The share of one label, three ways; the last two are None where no row is audited.

    Attributes:
        voted: What counting the votes says.
        audited: What the audit alone says.
        estimate: What votes and audit say together.
    """

    voted: float
    audited: Estimate | None
    estimate: Estimate | None


def label_shares(voted: np.ndarray, audit: Audit, num_labels: int) -> list[LabelShare]:
    """The share of each label in a pile, with intervals that hold 95 % of the time, each by itself.

    Args:
        voted: (texts,) number of the voted label of every text of the pile, `NO_LABEL` where the votes abstained.
        audit: A random sample of the pile (`review`), or of the same kind of texts (`gold`).
        num_labels: Number of labels.

    Raises:
        ValueError: the pile is empty.
    """
    if not len(voted):
        raise ValueError("there are no texts")
    return [_share(voted == label, audit.voted == label, audit.truth == label, audit) for label in range(num_labels)]


def _share(pile: np.ndarray, votes: np.ndarray, truth: np.ndarray, audit: Audit) -> LabelShare:
    if not len(truth):
        return LabelShare(float(pile.mean()), None, None)
    alone = _Cell.of(len(pile), truth, audit, guess=0.5)
    cells = [
        _Cell.of(int((pile == side).sum()), truth[votes == side], audit.of(votes == side), guess=float(side))
        for side in (True, False)
    ]
    return LabelShare(float(pile.mean()), _mover([alone], len(pile)), _mover(cells, len(pile)))


class _Cell(NamedTuple):
    """Texts of a cell, and the label's share in it with its interval."""

    texts: int
    share: Estimate

    @classmethod
    def of(cls, texts: int, truth: np.ndarray, audit: Audit, *, guess: float) -> "_Cell":
        """Without an audited row the share is a guess between 0 and 1."""
        rows = len(truth)
        if not texts or not rows:
            return cls(texts, Estimate(guess, 0.0, 1.0))
        share = float(np.average(truth, weights=audit.weight))
        effective = float(audit.weight.sum() ** 2 / (audit.weight**2).sum())  # Kish's, for unequal weights
        # A part of the pile is surer of the pile than of what else it could have been; rows beside it are less sure.
        finite = 1 - rows / texts if audit.source == "review" else 1 + rows / texts
        return cls(texts, _jeffreys(share, effective / finite) if finite > 0 else Estimate(share, share, share))


def _jeffreys(share: float, rows: float) -> Estimate:
    """Jeffreys' 95 % interval of a share of `rows`, which need not be a whole number."""
    from scipy.stats import beta

    hits = share * rows
    low, high = beta.ppf([ALPHA / 2, 1 - ALPHA / 2], hits + 0.5, rows - hits + 0.5)
    return Estimate(share, 0.0 if share <= 0 else float(low), 1.0 if share >= 1 else float(high))


def _mover(cells: list[_Cell], texts: int) -> Estimate:
    """The sum of the cells' shares, weighted by their texts."""
    weight = np.array([cell.texts / texts for cell in cells])
    value, low, high = np.array([[c.share.value, c.share.low, c.share.high] for c in cells]).T
    total = float(weight @ value)
    down, up = (float(np.sqrt((weight**2) @ (value - end) ** 2)) for end in (low, high))
    return Estimate(total, max(0.0, total - down), min(1.0, total + up))
