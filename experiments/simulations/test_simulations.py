"""Simulated panels are what they say they are, and the plots hold every method."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from experiments.simulations.panels import LABELS, SCENARIOS, SimulatedPanel
from experiments.simulations.simulations import measure as measure_simulations
from xpoll.votes.methods.registry import METHODS


def panel(name: str, level: float, documents: int = 4000) -> SimulatedPanel:
    return SCENARIOS[name].draw(level, np.random.default_rng(0), documents)


def right(made: SimulatedPanel) -> list[float]:
    """How often each persona names the truth."""
    ballots = made.ballots
    hits = ballots.label_of == made.truth[ballots.document_of]
    return [float(hits[ballots.persona_of == i].mean()) for i in range(len(ballots.persona_ids))]


def test_personas_are_as_often_right_as_the_scenario_says() -> None:
    assert right(panel("together", 0.5)) == pytest.approx([0.7] * 5, abs=0.03)
    assert right(panel("clique", 4)) == pytest.approx([0.8] * 3 + [0.5] * 4, abs=0.03)
    assert right(panel("adversary", 1)) == pytest.approx([0.1] + [0.65] * 4, abs=0.03)
    assert right(panel("skewed", 0.9)) == pytest.approx([0.6] * 5, abs=0.03)


def test_panels_differ_from_independence_as_the_level_says() -> None:
    def all_equal(made: SimulatedPanel) -> float:
        votes = made.ballots.label_of.reshape(len(made.truth), -1)
        return float((votes == votes[:, :1]).all(1).mean())

    alone = all_equal(panel("together", 0))
    assert all_equal(panel("together", 0.5)) == pytest.approx(0.5 + 0.5 * alone, abs=0.03)
    of_clique = panel("clique", 3).ballots.label_of.reshape(-1, 6)[:, 3:]
    assert (of_clique == of_clique[:, :1]).all()
    assert (panel("skewed", 0.9).truth == 0).mean() == pytest.approx(0.9, abs=0.02)
    assert (panel("biased", 0.34).ballots.label_of == len(LABELS) - 1).mean() > 0.6


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, Any]], Path]:
    plots = tmp_path_factory.mktemp("plots")
    with pytest.MonkeyPatch.context() as patch:
        # crowd-kit's takes most of a minute for these panels; what it makes of votes is in tests/votes.
        patch.setitem(METHODS, "dawid_skene", METHODS["posterior"])
        return list(measure_simulations({"documents": 300, "repeats": 1, "plots": str(plots)})), plots


def test_each_scenario_has_a_record_for_each_level_and_method(measured: tuple[list[dict[str, Any]], Path]) -> None:
    records, _ = measured
    for name, scenario in SCENARIOS.items():
        found = [(r["level"], r["arm"]) for r in records if r["scenario"] == name and "level" in r]
        assert found == [(level, arm) for level in scenario.levels for arm in scenario.arms]
    gains = {key: record[key] for record in records for key in record if key.endswith("_gain")}
    assert gains["adversary_majority_gain"] == 0
    assert gains["adversary_posterior_gain"] > 0.05
    assert gains["biased_calibrated_known_shares_gain"] > 0.2


def test_plots_are_drawings_with_a_line_for_each_method(measured: tuple[list[dict[str, Any]], Path]) -> None:
    _, plots = measured
    assert sorted(path.stem for path in plots.iterdir()) == sorted(SCENARIOS)
    for path in plots.iterdir():
        root = ElementTree.parse(path).getroot()
        words = {element.text for element in root.iter() if element.tag.endswith("text")}
        assert set(SCENARIOS[path.stem].arms) <= words
        lines = [
            element.get("d", "") for element in root.iter() if element.get("stroke") and "L" in element.get("d", "")
        ]
        assert len(lines) == 2 * len(SCENARIOS[path.stem].arms)
        assert not any("nan" in line for line in lines)
