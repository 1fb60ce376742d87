"""The `energy` part of metrics.json: what the steps of a run needed, in all and per answer and label."""

from collections.abc import Mapping, Sequence
from typing import Any

from xpoll.core.config.job import ReportConfig
from xpoll.energy.stages import latest
from xpoll.report.metrics import EnergyEstimate, EnergyFigures

TEACHING = ("poll", "vote")


def energy_of(
    stages: Sequence[Mapping[str, Any]], *, answers: int, decided: int, right: float | None, config: ReportConfig
) -> EnergyFigures:
    """Joules by step and in all; null with its reason where a step was not measured.

    Args:
        stages: Entries of stages.json.
        answers: Completions of the run.
        decided: Documents with a label.
        right: How many labels are right, from the accuracy on gold rows; None without gold rows.
        config: The report section.

    Returns:
        The figures; `estimate` is None unless report.estimate_energy_tdp_w is set, and is then no measurement.
    """
    chosen = latest(stages)
    joules = {stage: _total([each["energy"]["energy_j"] for each in entries]) for stage, entries in chosen.items()}
    wall_s = {stage: round(sum(entry["wall_s"] for entry in entries), 3) for stage, entries in chosen.items()}
    known = bool(joules) and all(value is not None for value in joules.values())
    sources = [e["energy"]["source"] for entries in chosen.values() for e in entries if e["energy"]["source"] != "none"]
    teaching_j = _total([joules.get(stage) for stage in TEACHING]) if set(TEACHING) <= joules.keys() else None
    idle: Mapping[str, Any] = next(
        (entry["idle"] for entries in chosen.values() for entry in entries if entry["idle"]["idle_w"]), {}
    )
    return EnergyFigures(
        source=" / ".join(dict.fromkeys(sources)) or "none",
        energy_j=_total(list(joules.values())) if known else None,
        idle_w=idle.get("idle_w"),
        idle_spread=idle.get("spread"),
        stages=joules,
        wall_s=wall_s,
        why=_reasons(chosen),
        per_answer_j=_each(joules.get("poll"), answers),
        per_label_j=_each(teaching_j, decided),
        per_correct_label_j=_each(teaching_j, right),
        estimate=_estimate(wall_s, config),
    )


def _total(parts: Sequence[float | None]) -> float | None:
    known = [part for part in parts if part is not None]
    return round(sum(known), 3) if len(known) == len(parts) else None


def _each(joules: float | None, number: float | None) -> float | None:
    return round(joules / number, 4) if joules is not None and number else None


def _reasons(chosen: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, tuple[str, ...]]:
    """What the counters said of each step that they could not measure."""
    said = {
        stage: tuple(dict.fromkeys(each["energy"]["why"] for each in entries if each["energy"]["why"]))
        for stage, entries in chosen.items()
    }
    return {stage: reasons for stage, reasons in said.items() if reasons}


def _estimate(wall_s: Mapping[str, float], config: ReportConfig) -> EnergyEstimate | None:
    power_w = config.estimate_energy_tdp_w
    if power_w is None or not wall_s:
        return None
    return EnergyEstimate(energy_j=round(power_w * sum(wall_s.values()), 3), power_w=power_w)
