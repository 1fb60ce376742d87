"""Dollars and CO2 of a run and of a million texts, with every assumption: the `cost` part of metrics.json.

Money is the machine's price per hour, or the price of its energy; CO2 is its energy times the carbon
intensity of a region. What is not known is null, and the assumptions tell what is missing.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from xpoll.core.config.job import ReportConfig
from xpoll.report.carbon import carbon_intensity
from xpoll.report.metrics import Assumptions, CostFigures, EnergyFigures, GridMix, StageCost

J_PER_KWH = 3.6e6
MILLION = 1_000_000
TEACHING = ("poll", "vote")


def cost_of(
    energy: EnergyFigures,
    config: ReportConfig,
    *,
    engine_s: float,
    documents: int,
    texts_per_s: float | None = None,
) -> CostFigures:
    """What the run cost, what a million texts cost by teacher and by student, and when the student pays off.

    Args:
        energy: The run's energy and wall time by step.
        config: The report section.
        engine_s: Wall time of the engines, starts included; the run's time where no step was timed.
        documents: Texts that the teacher labelled.
        texts_per_s: Rate at which the student labels; None where it was not measured.

    Raises:
        ConfigError: the table of carbon intensities does not have `report.region`.
    """
    wall_s = dict(energy.wall_s) or {"poll": engine_s}
    joules = _joules(energy, config, wall_s)
    carbon = _carbon(config)
    usd = _usd(wall_s, joules.by_stage, config)
    co2_kg = {} if carbon is None else {s: j / J_PER_KWH * carbon.g_per_kwh / 1000 for s, j in joules.by_stage.items()}
    priced = texts_per_s is not None and config.usd_per_hour is not None
    teacher, student = _share(usd, TEACHING, documents), _serving_usd(config, texts_per_s)
    return CostFigures(
        usd=_total(usd),
        co2_kg=_total(co2_kg),
        by_stage={stage: StageCost(usd=usd.get(stage), co2_kg=co2_kg.get(stage)) for stage in wall_s},
        teacher_usd_per_million=teacher,
        teacher_co2_kg_per_million=_share(co2_kg, TEACHING, documents),
        student_usd_per_million=student,
        break_even_texts=break_even([usd.get(stage) for stage in (*TEACHING, "train")], teacher, student),
        assumptions=Assumptions(
            hours=sum(wall_s.values()) / 3600,
            stages=tuple(wall_s),
            usd_per_hour=config.usd_per_hour,
            usd_per_kwh=config.usd_per_kwh if config.usd_per_hour is None else None,
            carbon_g_per_kwh=carbon.g_per_kwh if carbon else None,
            carbon_of=carbon.mix if carbon else None,
            energy_known=bool(joules.by_stage),
            estimated_power_w=joules.estimated_power_w,
            student_texts_per_s=texts_per_s if priced else None,
        ),
    )


def break_even(fixed: Sequence[float | None], teacher: float | None, student: float | None) -> int | None:
    """Texts from which on labelling, training and the student together cost less than its teacher for all.

    Args:
        fixed: USD of making the student: its teacher's labels and its training.
        teacher: USD of a million texts by the teacher.
        student: USD of a million texts by the student.

    Returns:
        None where a price is not known, or where the student is not cheaper.
    """
    known = [usd for usd in fixed if usd is not None]
    if len(known) < len(fixed) or teacher is None or student is None or student >= teacher:
        return None
    return int(-(-sum(known) * MILLION // (teacher - student)))


class _Joules(NamedTuple):
    """Joules by step, and the power in watts that they are estimated from; None where they are measured."""

    by_stage: dict[str, float]
    estimated_power_w: float | None


class _Carbon(NamedTuple):
    """Grams of CO2 equivalent per kWh, and where that is from; None where the config gives it."""

    g_per_kwh: float
    mix: GridMix | None


def _joules(energy: EnergyFigures, config: ReportConfig, wall_s: Mapping[str, float]) -> _Joules:
    """Measured joules by step; where an estimate is asked for and a step was not measured, that of all steps."""
    measured = {stage: joules for stage, joules in energy.stages.items() if joules is not None}
    power_w = config.estimate_energy_tdp_w
    if power_w is None or len(measured) == len(wall_s):
        return _Joules(measured, None)
    return _Joules({stage: power_w * seconds for stage, seconds in wall_s.items()}, power_w)


def _carbon(config: ReportConfig) -> _Carbon | None:
    if config.carbon_g_per_kwh is not None:
        return _Carbon(config.carbon_g_per_kwh, None)
    if config.region is None:
        return None
    found = carbon_intensity(config.region)
    return _Carbon(found.g_per_kwh, GridMix(country=found.country, year=found.year, source=found.source))


def _usd(wall_s: Mapping[str, float], joules: Mapping[str, float], config: ReportConfig) -> dict[str, float | None]:
    if config.usd_per_hour is not None:
        return {stage: seconds / 3600 * config.usd_per_hour for stage, seconds in wall_s.items()}
    if config.usd_per_kwh is not None:
        return {stage: _times(joules.get(stage), config.usd_per_kwh / J_PER_KWH) for stage in wall_s}
    return dict.fromkeys(wall_s)


def _serving_usd(config: ReportConfig, texts_per_s: float | None) -> float | None:
    if texts_per_s is None or config.usd_per_hour is None:
        return None
    return MILLION / texts_per_s / 3600 * config.usd_per_hour


def _share(by_stage: Mapping[str, float | None], stages: Sequence[str], texts: int) -> float | None:
    """The cost of a million texts, from what the steps that ran cost for `texts` of them."""
    total = _total({stage: by_stage[stage] for stage in stages if stage in by_stage})
    return _times(total, MILLION / texts) if texts else None


def _total(by_stage: Mapping[str, float | None]) -> float | None:
    known = [value for value in by_stage.values() if value is not None]
    return sum(known) if known and len(known) == len(by_stage) else None


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
