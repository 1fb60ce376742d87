"""Where a majority fails, and which method does not: panels of known truth, every method on the same votes.

Draws panels (experiments/simulations/panels.py) and counts them. Reads nothing; writes the plots of
experiments/simulations/README.md where `parameters.plots` names a folder.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from experiments.simulations.panels import LABELS, SCENARIOS, shares_of_arm
from experiments.simulations.plots import write_plot
from xpoll.benchmarks.runner.records import Parameters, Record
from xpoll.core.progress import say
from xpoll.votes.compare import scores

FIGURES = ("accuracy", "f1_macro", "ece", "abstained")


def measure(parameters: Parameters) -> Iterator[Record]:
    """One record a scenario, level and method: means over `repeats` panels, and the range of the accuracy."""
    for name, scenario in SCENARIOS.items():
        say(f"{name}: {len(scenario.levels)} levels, {parameters['repeats']} panels each")
        records = [_measured(name, level, arm, parameters) for level in scenario.levels for arm in scenario.arms]
        yield from records
        if parameters["plots"]:
            write_plot(Path(parameters["plots"]) / f"{name}.svg", name, scenario, records)
        yield from _gains(name, max(scenario.levels), records)


def _measured(name: str, level: float, arm: str, parameters: Parameters) -> Record:
    found = []
    for repeat in range(parameters["repeats"]):
        rng = np.random.default_rng([repeat, round(100 * level)])
        panel = SCENARIOS[name].draw(level, rng, parameters["documents"])
        shares, scored = shares_of_arm(arm, panel, rng)
        found.append(scores(shares[scored], panel.truth[scored], LABELS))
    mean = {figure: float(np.mean([each[figure] for each in found])) for figure in FIGURES}
    accuracies = [each["accuracy"] for each in found]
    return {
        "arm": arm,
        "scenario": name,
        "level": level,
        **mean,
        "accuracy_lowest": min(accuracies),
        "accuracy_highest": max(accuracies),
    }


def _gains(name: str, level: float, records: list[Record]) -> Iterator[Record]:
    """How far each method is ahead of the majority at the last level, under a name that a check can hold."""
    at_last = {record["arm"]: record for record in records if record["level"] == level}
    for arm, record in at_last.items():
        figure = f"{name}_{arm}".replace(", ", "_").replace(" ", "_")
        yield {
            "arm": arm,
            "scenario": name,
            f"{figure}_gain": record["accuracy"] - at_last["majority"]["accuracy"],
            f"{figure}_ece": record["ece"],
        }
