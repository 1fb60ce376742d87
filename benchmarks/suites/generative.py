"""A student that writes: what LoRA does to held-out perplexity, whether a kill changes it, and what is served.

Rows are made by rule (benchmarks/workloads/purchase_notes.py), so that what a student writes is counted as right or
wrong field by field. The set `reasons` takes the phrasebank's sentences with the recorded answers of Mixtral.
"""

from collections.abc import Iterator

from xpoll.benchmarks.runner.records import Parameters, Record
from xpoll.benchmarks.workloads.causal_lm import measure_perplexity, measure_resume, measure_served, students_folder


def measure(parameters: Parameters) -> Iterator[Record]:
    """Perplexity before and after by seed, a kill, and the engine's answers; parameters.parts says which."""
    parts = parameters["parts"]
    with students_folder() as root:
        if "perplexity" in parts:
            yield from measure_perplexity(parameters, root)
        if "resume" in parts:
            yield from measure_resume(parameters, root)
        if "served" in parts:
            yield from measure_served(parameters, root)
