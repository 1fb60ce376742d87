"""The sentences that report and commands make of a run's figures; those about scores are in student/wording.py."""

from collections.abc import Iterator

from xpoll.core.formatting import counted, percent, with_unit
from xpoll.report.metrics import Assumptions, EnergyEstimate, EnergyFigures, EngineFigures, Metrics
from xpoll.votes.review.sample import NoBound

NO_BOUND: dict[NoBound, str] = {
    "nobody answered": "nobody has labelled a document of the sample yet",
    "answers used up": "the votes were weighted by the answers (vote.learn_from_review), which uses them up",
    "labels changed": "the labels have changed since the sample was drawn; draw a new one",
}
"""Why no bound on the labels' accuracy is stated."""

SHORT_OF_PREDICTION = 0.1
"""By how much the cached share of prompt tokens may fall below the predicted one before it is named. On the CPU engine
runs differ from their prediction by up to 0.02 (docs/explanation/prefixes.md)."""


def prefix_sentences(engine: EngineFigures) -> Iterator[str]:
    """What the prefix cache held against what the plan predicted, and a warning where that is much less."""
    measured, predicted = engine.cached_share, engine.predicted_cached_share
    if measured is None:
        return
    expected = "not predicted" if predicted is None else f"predicted {percent(predicted)}"
    tokens = ""
    if engine.uncached_tokens_per_label is not None:
        planned = engine.predicted_uncached_tokens_per_label
        beside = "" if planned is None else f" (predicted {planned:g})"
        tokens = f"; {engine.uncached_tokens_per_label:g} uncached prompt tokens a label{beside}"
    yield f"prefix cache: {expected}, measured {percent(measured)} ({engine.prompt_order}){tokens}"
    if predicted is not None and measured < predicted - SHORT_OF_PREDICTION:
        yield (
            f"warning: the prefix cache held {100 * (predicted - measured):.0f} points less of the prompt tokens than "
            "predicted: does the engine serve others too, or is its KV cache smaller than the plan says? "
            "see docs/explanation/prefixes.md"
        )


def bounded_sentence(metrics: Metrics) -> str | None:
    """Says how many answers tell of their likeliest labels only; None where all tell of all."""
    if not metrics.votes.bounded:
        return None
    answers = counted(metrics.votes.bounded, "answer")
    told = f"{answers} told of the likeliest labels only"
    return f"{told}; the probabilities of the others are bounds (docs/explanation/reads.md)"


def energy_reasons(energy: EnergyFigures) -> str:
    """Why steps were not measured, e.g. "poll, vote: no RAPL"; empty where all were."""
    if not energy.stages:
        return "no step of this run was timed"
    by_reason: dict[str, list[str]] = {}
    for stage, reasons in energy.why.items():
        for why in reasons:
            by_reason.setdefault(why, []).append(stage)
    return "; ".join(f"{', '.join(stages)}: {why}" for why, stages in by_reason.items())


def estimate_sentence(estimate: EnergyEstimate) -> str:
    """What an estimate of energy is made of."""
    power = with_unit(estimate.power_w, "W")
    return f"an estimate, not a measurement: {power} (report.estimate_energy_tdp_w) for the whole wall time"


def assumption_sentences(said: Assumptions) -> list[str]:
    """What the cost depends on, and what is missing where there is none."""
    sentences = [f"{with_unit(said.hours, 'h')} of {', '.join(said.stages)}", _price(said), *_carbon(said)]
    if said.student_texts_per_s is not None:
        rate = with_unit(said.student_texts_per_s, "texts/s")
        sentences.append(f"the student labels {rate}, as measured in this run, on the same machine")
    return sentences


def _price(said: Assumptions) -> str:
    if said.usd_per_hour is not None:
        return f"{with_unit(said.usd_per_hour, 'USD')} per hour (report.usd_per_hour)"
    if said.usd_per_kwh is not None:
        return f"{with_unit(said.usd_per_kwh, 'USD')} per kWh (report.usd_per_kwh); the machine itself is not counted"
    return "no price: neither report.usd_per_hour nor report.usd_per_kwh is set"


def _carbon(said: Assumptions) -> list[str]:
    if said.carbon_g_per_kwh is None:
        return ["no CO2: neither report.region nor report.carbon_g_per_kwh is set"]
    of = said.carbon_of
    mix = f": {of.country}, mean of {of.year} ({of.source})" if of else " (report.carbon_g_per_kwh)"
    sentences = [f"{said.carbon_g_per_kwh:g} g CO2e per kWh{mix}"]
    if not said.energy_known:
        sentences.append("no CO2: no energy was measured, and no estimate is asked for (report.estimate_energy_tdp_w)")
    elif said.estimated_power_w is not None:
        sentences.append(
            f"where energy was not measured it is estimated: {with_unit(said.estimated_power_w, 'W')} "
            "(report.estimate_energy_tdp_w) for the whole wall time"
        )
    return [*sentences, "only what the counters see: no cooling, no other parts of the machine, no making of it"]
