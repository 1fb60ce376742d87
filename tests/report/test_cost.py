"""Dollars, CO2 and the break-even volume, checked by hand; what is not known stays null and is said."""

import math
from typing import Any

import pytest

from xpoll.core.config.job import ReportConfig
from xpoll.core.errors import ConfigError
from xpoll.report.carbon import carbon_intensity
from xpoll.report.cost import break_even, cost_of
from xpoll.report.metrics import CostFigures, EnergyFigures
from xpoll.report.wording import assumption_sentences

NOTHING: dict[str, Any] = {"source": "none", "energy_j": None, "idle_w": None, "why": {}}
ENERGY = EnergyFigures(
    stages={"poll": 3.6e6, "vote": 0.0, "train": 1.8e6}, wall_s={"poll": 3600, "vote": 0, "train": 1800}, **NOTHING
)
UNMEASURED = EnergyFigures(stages={"poll": None, "train": None}, wall_s={"poll": 3600, "train": 1800}, **NOTHING)


def cost(energy: EnergyFigures = ENERGY, texts_per_s: float | None = None, **config: Any) -> CostFigures:
    return cost_of(energy, ReportConfig(**config), engine_s=60.0, documents=10_000, texts_per_s=texts_per_s)


def said(found: CostFigures) -> list[str]:
    return assumption_sentences(found.assumptions)


def test_a_price_by_the_hour_pays_for_every_stage() -> None:
    found = cost(usd_per_hour=2.0)
    assert found.usd == pytest.approx(3.0)
    assert (found.by_stage["train"].usd, found.by_stage["train"].co2_kg) == (pytest.approx(1.0), None)
    assert found.teacher_usd_per_million == pytest.approx(200.0)
    assert "2 USD per hour (report.usd_per_hour)" in said(found)
    assert "1.50 h of poll, vote, train" in said(found)


def test_a_price_of_energy_pays_for_measured_joules_only() -> None:
    assert cost(usd_per_kwh=0.3).usd == pytest.approx(0.45)
    assert cost(UNMEASURED, usd_per_kwh=0.3).usd is None


def test_co2_is_energy_times_the_intensity_of_the_region_which_is_named() -> None:
    found = cost(region="DEU")
    assert found.co2_kg == pytest.approx(1.5 * 0.38095)
    assert any(sentence.startswith("380.95 g CO2e per kWh: Germany, mean of 2023") for sentence in said(found))
    assert cost(carbon_g_per_kwh=100.0).co2_kg == pytest.approx(0.15)


def test_an_unknown_region_is_one_line_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="'DEX' is not in the table of carbon intensities -> did you mean"):
        cost(region="DEX")
    assert carbon_intensity("NOR").g_per_kwh < carbon_intensity("POL").g_per_kwh


def test_without_energy_there_is_no_co2_unless_an_estimate_is_asked_for() -> None:
    found = cost(UNMEASURED, region="DEU")
    assert found.co2_kg is None and any("no energy was measured" in sentence for sentence in said(found))
    estimated = cost(UNMEASURED, region="DEU", estimate_energy_tdp_w=1000.0)
    assert estimated.co2_kg == pytest.approx(1.5 * 0.38095)
    assert any("it is estimated: 1,000 W" in sentence for sentence in said(estimated))


def test_without_a_price_nothing_is_priced_and_the_keys_are_named() -> None:
    found = cost()
    assert (found.usd, found.co2_kg, found.break_even_texts) == (None, None, None)
    assert "no price: neither report.usd_per_hour nor report.usd_per_kwh is set" in said(found)


def test_the_student_pays_from_the_volume_at_which_both_ways_cost_the_same() -> None:
    found = cost(usd_per_hour=2.0, texts_per_s=100.0)
    student = 1e6 / 100 / 3600 * 2.0
    assert found.student_usd_per_million == pytest.approx(student)
    assert found.break_even_texts == math.ceil(3.0e6 / (200.0 - student))
    volume = found.break_even_texts
    assert volume is not None
    assert 3.0 + volume / 1e6 * student <= volume / 1e6 * 200.0
    assert 3.0 + (volume - 1) / 1e6 * student > (volume - 1) / 1e6 * 200.0


@pytest.mark.parametrize(
    ("fixed", "teacher", "student"),
    [([1.0, None], 200.0, 1.0), ([1.0], None, 1.0), ([1.0], 200.0, None), ([1.0], 1.0, 1.0), ([1.0], 1.0, 2.0)],
)
def test_no_volume_is_stated_where_a_price_is_missing_or_the_student_is_not_cheaper(
    fixed: list[float | None], teacher: float | None, student: float | None
) -> None:
    assert break_even(fixed, teacher, student) is None
