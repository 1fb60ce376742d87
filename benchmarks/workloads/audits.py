"""Audits of piles whose truth is known because it was drawn: how often each figure that rests on an audit holds.

Every audit has a pile and a sample of its own, so that a share over audits is a share over independent repeats.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from xpoll.benchmarks.runner.records import Record
from xpoll.core.records import Consensus
from xpoll.student.drift import FALSE_ALARM, DriftMonitor, GoldAnswers
from xpoll.student.inference.cascade import chosen_threshold
from xpoll.votes.review.estimate import Audit, label_shares
from xpoll.votes.review.max_error import ErrorTarget, doubtful_texts
from xpoll.votes.review.sample import draw_sample


class KnownPile(NamedTuple):
    """Texts of known labels with their votes.

    Attributes:
        truth: (texts,) number of the label.
        voted: (texts,) number of the voted label.
        confidence: (texts,) of the vote, which is right as often as it says where votes are not spoiled.
    """

    truth: np.ndarray
    voted: np.ndarray
    confidence: np.ndarray


def draw_pile(rng: np.random.Generator, texts: int, shares: list[float], *, spoiled: float) -> KnownPile:
    """A pile whose votes are right for 93 %; of a part of them the vote is drawn anew and says nothing.

    Args:
        rng: What draws.
        texts: Number of texts.
        shares: How frequent each label is.
        spoiled: Share of votes that say nothing, with the confidence that they had.
    """
    truth = rng.choice(len(shares), texts, p=shares)
    confidence = 0.4 + 0.6 * rng.beta(6, 0.75, texts)
    other = (truth + rng.integers(1, len(shares), texts)) % len(shares)
    voted = np.where(rng.random(texts) < confidence, truth, other)
    noise = rng.random(texts) < spoiled
    voted[noise] = rng.integers(0, len(shares), int(noise.sum()))
    return KnownPile(truth, voted, confidence)


def consensus_of_pile(pile: KnownPile) -> list[Consensus]:
    """The records that the votes of a pile make, labels by number."""
    rows = zip(pile.voted.tolist(), pile.confidence.tolist(), strict=True)
    return [
        Consensus(str(i), "train", "", str(label), (), confidence, 3, 0, 1.0)
        for i, (label, confidence) in enumerate(rows)
    ]


def estimates(audits: int, size: int, texts: int, shares: list[float], spoiled: float) -> Iterator[Record]:
    """How often the interval of each label's share holds the share of the pile, and its width against the audit's."""
    audited = _Audited(size, len(shares))
    for seed in range(audits):
        pile = draw_pile(np.random.default_rng([1, seed]), texts, shares, spoiled=spoiled)
        audited.add(pile, consensus_of_pile(pile), seed)
    yield from audited.records(f"estimate, {100 * spoiled:.0f} % of votes spoiled", shares)


def recorded_estimates(pile: KnownPile, audits: int, size: int, num_labels: int) -> Iterator[Record]:
    """The same of one pile, by audits of it."""
    audited, consensus = _Audited(size, num_labels), consensus_of_pile(pile)
    for seed in range(audits):
        audited.add(pile, consensus, seed)
    shares = [float((pile.truth == label).mean()) for label in range(num_labels)]
    yield from audited.records("estimate", shares)


class _Audited:
    """Sums over audits of one size, label by label."""

    def __init__(self, size: int, num_labels: int) -> None:
        self._size, self._audits = size, 0
        self._held, self._widths = np.zeros((2, num_labels)), np.zeros((2, num_labels))

    def add(self, pile: KnownPile, consensus: list[Consensus], seed: int) -> None:
        """Audits the pile."""
        drawn = draw_sample(consensus, size=self._size, seed=seed)["rows"]
        rows = np.array([int(row["document_id"]) for row in drawn])
        audit = Audit(pile.truth[rows], pile.voted[rows], np.array([row["weight"] for row in drawn]), "review")
        self._audits += 1
        for label, found in enumerate(label_shares(pile.voted, audit, self._held.shape[1])):
            share = float((pile.truth == label).mean())
            for way, interval in enumerate((found.estimate, found.audited)):
                assert interval is not None
                self._held[way, label] += interval.low <= share <= interval.high
                self._widths[way, label] += interval.high - interval.low

    def records(self, arm: str, shares: list[float]) -> Iterator[Record]:
        """One per label; widths are means in 0..1."""
        for label, share in enumerate(shares):
            width, alone = (self._widths[:, label] / self._audits).tolist()
            yield {
                "arm": arm,
                "audits": self._audits,
                "audited": self._size,
                "label_share": share,
                "estimate_coverage": float(self._held[0, label] / self._audits),
                "audit_alone_coverage": float(self._held[1, label] / self._audits),
                "width": width,
                "audit_alone_width": alone,
                "width_ratio": width / alone,
            }


def max_errors(audits: int, size: int, texts: int, shares: list[float], spoiled: float, target: ErrorTarget) -> Record:
    """How often at most the wanted share of labels is wrong once people have labelled what they were asked to."""
    kept, asked = [], []
    for seed in range(audits):
        pile = draw_pile(np.random.default_rng([2, seed]), texts, shares, spoiled=spoiled)
        consensus = consensus_of_pile(pile)
        review = draw_sample(consensus, size=size, seed=seed)
        for row in review["rows"]:
            row["label"] = str(pile.truth[int(row["document_id"])])
        given = [int(row.document_id) for row in doubtful_texts(review, consensus, target, seed=seed)]
        wrong = pile.voted != pile.truth
        wrong[given] = False
        wrong[[int(row["document_id"]) for row in review["rows"]]] = False
        kept.append(wrong.mean() <= target.max_error)
        asked.append((len(given) + size) / texts)
    return {
        "arm": f"max error {target.max_error:g}, {100 * spoiled:.0f} % of votes spoiled",
        "audits": audits,
        "audited": size,
        "max_error_kept": float(np.mean(kept)),
        "labelled_by_people": float(np.mean(asked)),
    }


CURVES: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "0.5 points below the target everywhere": lambda rank, target: np.full_like(rank, target - 0.005),
    "above the target for half of the rows": lambda rank, target: np.where(rank < 0.5, 1 - (1 - target) / 3, 0.75),
    "above the target, falling": lambda rank, target: 1 - (1 - target) * (0.15 + rank),
}
"""Accuracy of a student by the rank of its confidence, 0 the most confident, and the target."""


def cascades(audits: int, gold_rows: int, target: float) -> Iterator[Record]:
    """How often a threshold is declared above which the student misses the target, and how many rows it answers."""
    for name, accuracy_of in CURVES.items():
        false, answered = 0, 0.0
        for seed in range(audits):
            rng = np.random.default_rng([3, seed])
            rank = rng.random(gold_rows)
            right = rng.random(gold_rows) < accuracy_of(rank, target)
            student = ["right" if each else "wrong" for each in right]
            gold = ["right"] * gold_rows
            chosen = chosen_threshold(student, (1 - rank).tolist(), gold, gold, target=target)
            share = 1 - chosen.threshold if chosen.sure_low is not None else 0.0  # of all texts, those above it
            answered += share
            ranks = np.linspace(0, share, 2001)
            false += share > 0 and float(accuracy_of(ranks, target).mean()) < target
        yield {
            "arm": f"cascade, {name}",
            "audits": audits,
            "gold_rows": gold_rows,
            "false_declarations": false / audits,
            "answered_by_student": answered / audits,
        }


def drifts(audits: int, gold_rows: int, rows: int, batch: int, labels: int) -> Iterator[Record]:
    """How often files of the gold rows' kind raise an alarm, and files of other kinds."""
    for name, from_row, shift in (("none", rows, 0.0), ("whole file", 0, 1.0), ("last quarter", 3 * rows // 4, 1.0)):
        alarms = 0
        for seed in range(audits):
            rng = np.random.default_rng([4, seed])
            confidence, label = _answers(rng, gold_rows, labels, 0.0)
            counts = np.bincount(label, minlength=labels).tolist()
            monitor = DriftMonitor(
                GoldAnswers(
                    confidence=tuple(confidence.tolist()), label_counts={str(i): n for i, n in enumerate(counts)}
                )
            )
            for begin in range(0, rows, batch):
                moved = shift if begin >= from_row else 0.0
                confidence, label = _answers(rng, min(batch, rows - begin), labels, moved)
                monitor.take([str(each) for each in label], confidence.tolist())
            alarms += monitor.found().alarm is not None
        figure = "false_alarms" if name == "none" else "alarms"
        yield {
            "arm": f"drift, {name}",
            "audits": audits,
            "gold_rows": gold_rows,
            "rows": rows,
            "nominal": FALSE_ALARM,
            figure: alarms / audits,
        }


def _answers(rng: np.random.Generator, rows: int, labels: int, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """Confidences and labels of a student; with a shift it is less sure, and the first label is more frequent."""
    share = np.ones(labels) + shift * (np.arange(labels) == 0)
    return 1 - 0.5 * rng.beta(1 + shift, 5, rows), rng.choice(labels, rows, p=share / share.sum())
