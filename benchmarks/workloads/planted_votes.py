"""Votes whose errors are known because they were drawn, on the labels that people gave to real texts.

No recorded answers are there for data sets of many labels. So that a method meets more than three labels, a panel is
drawn: each persona is right as often as is said, and where it is wrong it is often wrong as others are.
"""

from collections.abc import Iterator, Sequence
from time import perf_counter

import numpy as np

from xpoll.benchmarks.runner.records import Record
from xpoll.benchmarks.workloads.labelled_sets import LabelledSet
from xpoll.core.progress import say
from xpoll.votes.ballots import Ballots
from xpoll.votes.compare import scores
from xpoll.votes.methods.registry import METHODS


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
