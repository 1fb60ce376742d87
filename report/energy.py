"""The `energy` part of metrics.json: what the stages of a run needed, and what that is an answer and a label."""

from collections.abc import Mapping, Sequence
from typing import Any

from xpoll.core.config import ReportConfig
from xpoll.energy.stages import latest

TEACHING = ("poll", "vote")


def energy_of(
    stages: Sequence[Mapping[str, Any]], *, answers: int, decided: int, right: float | None, config: ReportConfig
) -> dict[str, Any]:
    """Joules by stage and in all; null with its reason where a stage was not measured.

    Args:
        stages: Entries of stages.json.
        answers: Completions of the run.
        decided: Documents with a label.
        right: How many labels are right, from the accuracy on gold rows; None without gold rows.
        config: The report section.

    Returns:
        source, energy_j, idle_w, idle_spread, stages (joules by stage), wall_s (seconds by stage), why,
        joules per answer, per label and per correct label (of poll and vote), and estimate: None unless
        report.estimate_energy_tdp_w is set, and then no measurement.
    """
    chosen = latest(stages)
    joules = {stage: _sum(entries) for stage, entries in chosen.items()}
    wall_s = {stage: round(sum(entry["wall_s"] for entry in entries), 3) for stage, entries in chosen.items()}
    known = bool(joules) and all(value is not None for value in joules.values())
    sources = [e["energy"]["source"] for entries in chosen.values() for e in entries if e["energy"]["source"] != "none"]
    teaching_j = _total([joules.get(stage) for stage in TEACHING]) if set(TEACHING) <= joules.keys() else None
    idle: Mapping[str, Any] = next(
        (entry["idle"] for entries in chosen.values() for entry in entries if entry["idle"]["idle_w"]), {}
    )
    return {
        "source": " / ".join(dict.fromkeys(sources)) or "none",
        "energy_j": _total(list(joules.values())) if known else None,
        "idle_w": idle.get("idle_w"),
        "idle_spread": idle.get("spread"),
        "stages": joules,
        "wall_s": wall_s,
        "why": _reasons(chosen) or ("" if chosen else "no stage of this run was measured"),
        "per_answer_j": _each(joules.get("poll"), answers),
        "per_label_j": _each(teaching_j, decided),
        "per_correct_label_j": _each(teaching_j, right),
        "estimate": _estimate(wall_s, config),
    }


def _sum(entries: Sequence[Mapping[str, Any]]) -> float | None:
    return _total([entry["energy"]["energy_j"] for entry in entries])


def _total(parts: Sequence[float | None]) -> float | None:
    known = [part for part in parts if part is not None]
    return round(sum(known), 3) if len(known) == len(parts) else None


def _each(joules: float | None, number: float | None) -> float | None:
    return round(joules / number, 4) if joules is not None and number else None


def _reasons(chosen: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    by_reason: dict[str, list[str]] = {}
    for stage, entries in chosen.items():
        for entry in entries:
            if why := entry["energy"]["why"]:
                by_reason.setdefault(why, []).append(stage)
    return "; ".join(f"{', '.join(dict.fromkeys(stages))}: {why}" for why, stages in by_reason.items())


def _estimate(wall_s: Mapping[str, float], config: ReportConfig) -> dict[str, Any] | None:
    tdp_w = config.estimate_energy_tdp_w
    if tdp_w is None or not wall_s:
        return None
    how = f"an estimate, not a measurement: {tdp_w:g} W (report.estimate_energy_tdp_w) for the whole wall time"
    return {"energy_j": round(tdp_w * sum(wall_s.values()), 3), "how": how}
