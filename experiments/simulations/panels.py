"""Panels whose truth is known because it was drawn: correlated, adversarial, skewed, biased.

A panel is drawn at a level, a number that says how far it departs from what a majority assumes:
independent answers, everybody right more often than each wrong label, labels equally frequent.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from xpoll.votes.ballots import Ballots, Shares, ballots_of
from xpoll.votes.methods.registry import METHODS

LABELS = ["a", "b", "c"]
CHECKED = 200  # documents whose label a person has told, in the arms that use some


class SimulatedPanel(NamedTuple):
    """The votes of a panel, and the number of each document's true label."""

    ballots: Ballots
    truth: np.ndarray


class Scenario(NamedTuple):
    """One way in which a panel departs from what a majority assumes.

    Attributes:
        draw: From level and generator, with the number of documents, to a panel.
        level: What a level is, for the axis of a plot.
        levels: The levels that are drawn.
        arms: What is compared.
    """

    draw: Callable[[float, np.random.Generator, int], SimulatedPanel]
    level: str
    levels: Sequence[float]
    arms: Sequence[str]


def together(level: float, rng: np.random.Generator, documents: int) -> SimulatedPanel:
    """Five personas, 70 % right each; in a share `level` of the documents all repeat one opinion."""
    truth = _truth(rng, documents)
    votes = _answers(rng, truth, [0.7] * 5)
    repeats = rng.random(documents) < level
    votes[repeats] = votes[repeats, :1]
    return SimulatedPanel(_ballots(votes), truth)


def clique(level: float, rng: np.random.Generator, documents: int) -> SimulatedPanel:
    """Three personas, each 80 % right by itself, and `level` others that always say the same, 50 % right."""
    truth = _truth(rng, documents)
    votes = _answers(rng, truth, [0.8] * 3)
    said = _answers(rng, truth, [0.5])
    return SimulatedPanel(_ballots(np.hstack([votes, *[said] * int(level)])), truth)


def adversary(level: float, rng: np.random.Generator, documents: int) -> SimulatedPanel:
    """Five personas, 65 % right; `level` of them name the next label after the true one in 80 % instead."""
    truth = _truth(rng, documents)
    votes = _answers(rng, truth, [0.65] * 5)
    for persona in range(int(level)):
        votes[:, persona] = _answers(rng, (truth + 1) % len(LABELS), [0.8])[:, 0]
    return SimulatedPanel(_ballots(votes), truth)


def skewed(level: float, rng: np.random.Generator, documents: int) -> SimulatedPanel:
    """Five personas, 60 % right; a share `level` of the documents has the first label."""
    truth = _truth(rng, documents, frequent=level)
    return SimulatedPanel(_ballots(_answers(rng, truth, [0.6] * 5)), truth)


def biased(level: float, rng: np.random.Generator, documents: int) -> SimulatedPanel:
    """Three personas with logprobs that lean to the last label; a share `level` of the documents has the first."""
    truth = _truth(rng, documents, frequent=level)
    lean = np.array([0.0, 0.5, 2.5])
    scores = lean + 1.5 * np.eye(len(LABELS))[truth][:, None] + rng.normal(0, 1, (documents, 3, len(LABELS)))
    shares = np.exp(scores) / np.exp(scores).sum(2, keepdims=True)
    ballots = _ballots(scores.argmax(2))
    priors = dict(zip(LABELS, np.bincount(truth, minlength=len(LABELS)) / documents, strict=True))
    return SimulatedPanel(replace(ballots, distributions=shares.reshape(-1, len(LABELS)), priors=priors), truth)


COUNTED = ["majority", "reliability_weighted", "posterior", "dawid_skene", "posterior, 200 checked"]

SCENARIOS: Mapping[str, Scenario] = {
    "together": Scenario(together, "share of the texts on which all repeat one opinion", [0, 0.25, 0.5, 0.75], COUNTED),
    "clique": Scenario(clique, "personas that always say the same", [0, 1, 2, 3, 4], COUNTED),
    "adversary": Scenario(adversary, "adversarial personas of five", [0, 1, 2], COUNTED),
    "skewed": Scenario(skewed, "share of the most frequent label", [0.34, 0.6, 0.8, 0.9, 0.95], COUNTED),
    "biased": Scenario(
        biased,
        "share of the most frequent label",
        [0.34, 0.6, 0.8, 0.9],
        ["majority", "confidence_weighted", "calibrated", "calibrated, known shares"],
    ),
}


def shares_of_arm(arm: str, panel: SimulatedPanel, rng: np.random.Generator) -> tuple[Shares, np.ndarray]:
    """What a method says of a panel, and a mask of the documents that it may be scored on."""
    ballots, scored = panel.ballots, np.ones(len(panel.truth), bool)
    method, _, extra = arm.partition(", ")
    if extra != "known shares":
        ballots = replace(ballots, priors=None)
    if extra.endswith("checked"):
        scored[rng.choice(len(scored), CHECKED, replace=False)] = False
        ballots = replace(ballots, known=np.where(scored, -1, panel.truth))
    return METHODS[method](ballots), scored


def _truth(rng: np.random.Generator, documents: int, frequent: float = 1 / 3) -> np.ndarray:
    rest = (1 - frequent) / 2
    return rng.choice(len(LABELS), documents, p=[frequent, rest, 1 - frequent - rest])


def _answers(rng: np.random.Generator, meant: np.ndarray, right: Sequence[float]) -> np.ndarray:
    """(documents, personas): what is meant with each persona's probability, else one of the other labels."""
    shape = (len(meant), len(right))
    wrong = (meant[:, None] + rng.integers(1, len(LABELS), shape)) % len(LABELS)
    return np.where(rng.random(shape) < np.array(right), meant[:, None], wrong)


def _ballots(votes: np.ndarray) -> Ballots:
    documents, personas = votes.shape
    empty = ballots_of([str(i) for i in range(documents)], [], LABELS)
    return replace(
        empty,
        persona_ids=[f"p{i}" for i in range(personas)],
        document_of=np.repeat(np.arange(documents), personas),
        persona_of=np.tile(np.arange(personas), documents),
        label_of=votes.ravel(),
        sample_of=None,
    )
