"""The `cost` part of metrics.json: dollars and CO2 of a run and of a million texts, with every assumption.

Money is the machine's price by the hour, or the price of its energy; CO2 is its energy times the carbon
intensity of a region. What is not known is null, and the assumptions say what is missing.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from xpoll.core.config import ReportConfig
from xpoll.report.carbon import carbon_intensity

J_PER_KWH = 3.6e6
MILLION = 1_000_000
TEACHING = ("poll", "vote")


class Published(NamedTuple):
    """What others published for labelling a million texts; None where they state nothing."""

    what: str
    usd: float | None
    co2_kg: str | None
    accuracy: float | None
    how: str


PUBLISHED_SOURCE = (
    "M. Laurer, Synthetic data: save money, time and carbon with open source, Hugging Face blog, February 2024; "
    "sentences of financial_phrasebank on which all annotators agree, 453 of them for accuracy; prices of that day; "
    "neither labelling nor training of the student is counted; nothing of it was measured here"
)
PUBLISHED = (
    Published("RoBERTa-base student", 2.7, "0.12", 0.94, "61 texts/s on one T4 at 0.6 USD an hour, batch 8"),
    Published("Mixtral-8x7B teacher, one label", None, None, 0.916, "no price stated"),
    Published("Mixtral-8x7B teacher, three chains of thought", None, None, 0.94, "no price stated"),
    Published("GPT-3.5", 153.0, None, None, "priced by tokens"),
    Published("GPT-4", 3061.0, "735 to 1100", 0.94, "priced by tokens; CO2 is the author's very rough estimate"),
)


def cost_of(
    energy: Mapping[str, Any],
    config: ReportConfig,
    *,
    engine_s: float,
    documents: int,
    texts_per_s: float | None = None,
) -> dict[str, Any]:
    """What the run cost, what a million texts cost by teacher and by student, and when the student pays.

    Args:
        energy: The `energy` part of metrics.json.
        config: The report section.
        engine_s: Wall time of the engines, starts included; the run's time where no stage was timed.
        documents: Texts the teacher labelled.
        texts_per_s: Rate at which the student labels; None where it was not measured.

    Returns:
        usd, co2_kg, by_stage, teacher_usd_per_million, student_usd_per_million, break_even_texts, and the
        assumptions.
    """
    wall_s = dict(energy["wall_s"]) or {"poll": engine_s}
    joules = _joules(energy, config, wall_s)
    said = [f"{sum(wall_s.values()) / 3600:.4f} h of {', '.join(wall_s)}"]
    usd = _usd(wall_s, joules, config, said)
    co2_kg = _co2_kg(joules, config, said)
    teacher = _share(usd, TEACHING, documents)
    student = _serving_usd(config, texts_per_s, said)
    fixed = [usd.get(stage) for stage in (*TEACHING, "train")]
    return {
        "usd": _total(usd),
        "co2_kg": _total(co2_kg),
        "by_stage": {stage: {"usd": usd.get(stage), "co2_kg": co2_kg.get(stage)} for stage in wall_s},
        "teacher_usd_per_million": teacher,
        "teacher_co2_kg_per_million": _share(co2_kg, TEACHING, documents),
        "student_usd_per_million": student,
        "break_even_texts": break_even(fixed, teacher, student),
        "assumptions": said,
    }


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


def _joules(energy: Mapping[str, Any], config: ReportConfig, wall_s: Mapping[str, float]) -> dict[str, float]:
    """Measured joules by stage, or where an estimate is asked for and nothing was measured, that."""
    measured = {stage: joules for stage, joules in energy["stages"].items() if joules is not None}
    if config.estimate_energy_tdp_w is None or len(measured) == len(wall_s):
        return measured
    return {stage: config.estimate_energy_tdp_w * seconds for stage, seconds in wall_s.items()}


def _usd(
    wall_s: Mapping[str, float], joules: Mapping[str, float], config: ReportConfig, said: list[str]
) -> dict[str, float | None]:
    if config.usd_per_hour is not None:
        said.append(f"{config.usd_per_hour:g} USD an hour (report.usd_per_hour)")
        return {stage: seconds / 3600 * config.usd_per_hour for stage, seconds in wall_s.items()}
    if config.usd_per_kwh is not None:
        said.append(f"{config.usd_per_kwh:g} USD a kWh (report.usd_per_kwh); the machine itself is not counted")
        return {stage: _times(joules.get(stage), config.usd_per_kwh / J_PER_KWH) for stage in wall_s}
    said.append("no price: neither report.usd_per_hour nor report.usd_per_kwh is set")
    return dict.fromkeys(wall_s)


def _co2_kg(joules: Mapping[str, float], config: ReportConfig, said: list[str]) -> dict[str, float | None]:
    if config.carbon_g_per_kwh is not None:
        g_per_kwh = config.carbon_g_per_kwh
        said.append(f"{g_per_kwh:g} g CO2e a kWh (report.carbon_g_per_kwh)")
    elif config.region is not None:
        of = carbon_intensity(config.region)
        g_per_kwh = of.g_per_kwh
        said.append(f"{of.g_per_kwh:g} g CO2e a kWh: {of.country}, mean of {of.year} ({of.source})")
    else:
        said.append("no CO2: neither report.region nor report.carbon_g_per_kwh is set")
        return {}
    if not joules:
        said.append("no CO2: no energy was measured, and no estimate is asked for (report.estimate_energy_tdp_w)")
    elif config.estimate_energy_tdp_w is not None:
        said.append(
            f"where energy was not measured it is estimated: {config.estimate_energy_tdp_w:g} W "
            "(report.estimate_energy_tdp_w) for the whole wall time"
        )
    said.append("only what the counters see: no cooling, no other parts of the machine, no making of it")
    return {stage: energy_j / J_PER_KWH * g_per_kwh / 1000 for stage, energy_j in joules.items()}


def _serving_usd(config: ReportConfig, texts_per_s: float | None, said: list[str]) -> float | None:
    if texts_per_s is None or config.usd_per_hour is None:
        return None
    said.append(f"the student labels {texts_per_s:.4g} texts/s, as measured in this run, on the same machine")
    return MILLION / texts_per_s / 3600 * config.usd_per_hour


def _share(by_stage: Mapping[str, float | None], stages: Sequence[str], texts: int) -> float | None:
    """Of a million texts, from what the stages that ran cost for `texts` of them."""
    total = _total({stage: by_stage[stage] for stage in stages if stage in by_stage})
    return _times(total, MILLION / texts) if texts else None


def _total(by_stage: Mapping[str, float | None]) -> float | None:
    known = [value for value in by_stage.values() if value is not None]
    return sum(known) if known and len(known) == len(by_stage) else None


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
