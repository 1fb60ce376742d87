"""Files of answers that rot: what readers make of them, and what a poll then asks again.

Trials run in processes of their own, fifty at a time; where such a process ends by a signal, its trials are run one by
one, so that the number of crashes is that of trials.
"""

import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from xpoll.benchmarks.runner.records import Parameters, Record
from xpoll.benchmarks.runner.subprocess_call import call_in_subprocess
from xpoll.benchmarks.workloads.faults.rot import KINDS, PLACES, trial, write_run
from xpoll.core.errors import EngineError
from xpoll.core.progress import say

AT_ONCE = 50
ARMS = {"cuts": [kind for kind in KINDS if kind != "bit flip"], "flips": ["bit flip"]}
"""Kinds of damage by arm; the trials of an arm go through kinds and places in turn."""


def measure(parameters: Parameters) -> Iterator[Record]:
    """One record per fifty trials: their sums."""
    sizes = [parameters[name] for name in ("documents", "rows_per_append", "rows_per_part")]
    for arm in parameters["arms"]:
        for first in range(parameters["seed"], parameters["seed"] + parameters["trials"], AT_ONCE):
            seeds = range(first, min(first + AT_ONCE, parameters["seed"] + parameters["trials"]))
            record = _in_subprocess(arm, seeds, sizes)
            say(f"{arm}, seeds {seeds[0]} to {seeds[-1]}: {record}")
            yield {"arm": arm, "first_seed": first, **record}


def _in_subprocess(arm: str, seeds: range, sizes: list[int]) -> Record:
    try:
        return call_in_subprocess(run_trials, arm, list(seeds), *sizes)
    except EngineError:
        if len(seeds) == 1:
            return {"trials": 1, "crashes": 1}
        sums: Counter[str] = Counter()
        for seed in seeds:
            sums.update(_in_subprocess(arm, range(seed, seed + 1), sizes))
        return dict(sums)


def run_trials(arm: str, seeds: list[int], documents: int, rows_per_append: int, rows_per_part: int) -> Record:
    """Sums over the trials of these seeds; one that ends in an exception is a crash."""
    kinds = ARMS[arm]
    sums: Counter[str] = Counter(trials=len(seeds), crashes=0)
    with tempfile.TemporaryDirectory() as root:
        source = Path(root) / "whole"
        sizes = {"documents": documents, "rows_per_append": rows_per_append, "rows_per_part": rows_per_part}
        answers = write_run(source, **sizes)
        for seed in seeds:
            kind, place = kinds[seed % len(kinds)], PLACES[seed // len(kinds) % len(PLACES)]
            try:
                came = trial(source, Path(root) / str(seed), answers, seed=seed, kind=kind, place=place)
                sums.update(came._asdict())
            except Exception as error:
                say(f"{arm}, seed {seed}, {kind} of {place}: {type(error).__name__}: {error}")
                sums["crashes"] += 1
    return dict(sums)
