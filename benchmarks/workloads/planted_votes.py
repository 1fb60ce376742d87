"""Votes whose errors are known because they were drawn, on the labels that people gave to real texts.

No recorded answers are there for data sets of many labels. So that a method meets more than three labels, a panel is
drawn: each persona is right as often as is said, and where it is wrong it is often wrong as others are.
"""

from collections.abc import Iterator, Sequence
from time import perf_counter

import numpy as np

from xpoll.benchmarks.runner.records import Record
from xpoll.benchmarks.workloads.labelled_sets import LabelledSet
from xpoll.benchmarks.workloads.nlu_plus_plus import IntentRows
from xpoll.core.progress import say
from xpoll.core.records import SetVote
from xpoll.votes.ballots import Ballots
from xpoll.votes.compare import scores
from xpoll.votes.compare_sets import set_scores
from xpoll.votes.label_sets import shares_of_sets
from xpoll.votes.methods.registry import METHODS

MISSES = 10
"""How many labels of a set are missed for each one that is named wrongly, where both are drawn."""


def planted_ballots(truth: np.ndarray, labels: list[str], accuracies: Sequence[float], *, seed: int) -> Ballots:
    """One vote of each persona about each text.

    Half of the wrong votes about a text name one and the same label, as models are lured by the same word; the others
    name any wrong label.

    Args:
        truth: (texts,) number of the right label.
        labels: All labels.
        accuracies: How often each persona is right.
        seed: Of the draw.
    """
    draw = np.random.default_rng(seed)
    size = (len(truth), len(accuracies))
    others = draw.integers(1, len(labels), size)
    lure = draw.integers(1, len(labels), len(truth))[:, None]
    off = np.where(draw.random(size) < 0.5, lure, others)
    named = np.where(draw.random(size) < np.asarray(accuracies), truth[:, None], (truth[:, None] + off) % len(labels))
    document_of, persona_of = np.indices(size)
    personas = [f"persona-{number}" for number in range(len(accuracies))]
    flat = document_of.ravel(), persona_of.ravel(), named.ravel()
    return Ballots(labels, personas, len(truth), *flat, sample_of=np.zeros(named.size, np.int64))


def measure_planted(
    name: str, rows: LabelledSet, accuracies: Sequence[float], methods: Sequence[str], *, seed: int
) -> Iterator[Record]:
    """Every method on a drawn panel; `planted_gain` is its accuracy less that of the best persona.

    A method that takes more than half a minute for so many votes is left out.

    Args:
        name: Of the data set.
        rows: Its texts' labels.
        accuracies: How often each persona is right.
        methods: Names of vote methods that read labels alone.
        seed: Of the draw.
    """
    ballots = planted_ballots(rows.truth, rows.labels, accuracies, seed=seed)
    right = ballots.label_of.reshape(-1, len(accuracies)) == rows.truth[:, None]
    best = float(right.mean(0).max())
    for method in methods:
        if len(ballots.label_of) > (METHODS[method].most_votes or np.inf):
            continue
        say(f"{name}, a drawn panel: {method}")
        begun_s = perf_counter()
        shares = METHODS[method].function(ballots)
        wall_s = perf_counter() - begun_s
        found = scores(shares, rows.truth, rows.labels)
        yield {
            "arm": f"{name}: drawn panel",
            "method": method,
            "texts": len(rows.truth),
            "labels": len(rows.labels),
            "best_persona": best,
            "accuracy": found["accuracy"],
            "accuracy_low": found["accuracy_ci95"][0],
            "accuracy_high": found["accuracy_ci95"][1],
            "coverage": found["coverage"],
            "ece": found["ece"],
            "planted_gain": found["accuracy"] - best,
            "wall_s": round(wall_s, 2),
        }


def planted_sets(truth: np.ndarray, labels: Sequence[str], accuracies: Sequence[float], *, seed: int) -> list[SetVote]:
    """One set of labels of each persona about each text, every label drawn by itself.

    Args:
        truth: (texts, labels) whether a label fits.
        labels: All labels.
        accuracies: How often each persona names a label that fits; wrong ones come with a tenth of its misses.
        seed: Of the draw.
    """
    draw = np.random.default_rng(seed)
    votes = []
    for number, accuracy in enumerate(accuracies):
        lot = draw.random(truth.shape)
        named = np.where(truth, lot < accuracy, lot < (1 - accuracy) / MISSES)
        votes += [
            SetVote(
                str(text), f"persona-{number}", 0, tuple(label for label, said in zip(labels, row, strict=True) if said)
            )
            for text, row in enumerate(named)
        ]
    return votes


def measure_planted_sets(
    rows: IntentRows, accuracies: Sequence[float], methods: Sequence[str], *, seed: int
) -> Iterator[Record]:
    """Every method on drawn sets; `planted_set_gain` is its micro F1 less that of the best persona.

    Args:
        rows: Texts with their intents.
        accuracies: How often each persona names a label that fits.
        methods: Names of vote methods that read labels alone.
        seed: Of the draw.
    """
    labels, ids = list(rows.labels), [str(text) for text in range(len(rows.texts))]
    votes = planted_sets(rows.truth, labels, accuracies, seed=seed)

    def f1_of(some: list[SetVote], method: str) -> Record:
        shares = shares_of_sets(ids, some, labels, method, correlation=0.5)
        return set_scores(shares, rows.truth.astype(int))

    alone = [votes[begin : begin + len(ids)] for begin in range(0, len(votes), len(ids))]
    best = max(f1_of(of_one, "majority")["f1_micro"] for of_one in alone)
    for method in methods:
        if len(votes) > (METHODS[method].most_votes or np.inf):
            continue
        say(f"NLU++, a drawn panel: {method}")
        begun_s = perf_counter()
        found = f1_of(votes, method)
        yield {
            "arm": "nlu++: drawn panel",
            "method": method,
            "texts": len(ids),
            "labels": len(labels),
            "best_persona_f1_micro": best,
            **found,
            "planted_set_gain": found["f1_micro"] - best,
            "wall_s": round(perf_counter() - begun_s, 2),
        }
