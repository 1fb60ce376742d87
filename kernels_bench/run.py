"""Runs the operators of chosen models on one device and yields a record for each, ceilings first.

A record that failed, or whose operator computes something else than PyTorch does, has no times.
"""

from collections.abc import Iterator

import torch

from xpoll.core.device import best_device
from xpoll.kernels_bench.arms import CaseRecord, arms_here, measured
from xpoll.kernels_bench.cases import Case
from xpoll.kernels_bench.ceilings import Ceilings, known_dtypes, measure_ceilings
from xpoll.kernels_bench.collective import all_reduce
from xpoll.kernels_bench.ipex import ipex_records
from xpoll.kernels_bench.timing import Timer
from xpoll.kernels_bench.wanted import Wanted, cases_of

ALL_REDUCE_MIB = 64


def device_here() -> str:
    """The accelerator that PyTorch has, or "cpu"."""
    return str(best_device().type)


def run_kernels(wanted: Wanted) -> Iterator[CaseRecord]:
    """One record an operator, shape and arm; the first ones are the ceilings that the others are held against."""
    torch.manual_seed(0)
    timer = Timer(wanted.device, samples=wanted.samples, most_s=wanted.most_s)
    dtypes = known_dtypes(wanted.device, list(dict.fromkeys([*wanted.dtypes, "fp32"])))
    ceilings, records = measure_ceilings(wanted.device, dtypes, timer)
    yield from records
    yield _all_reduced(wanted.device)
    cases = list(cases_of(wanted, dtypes))
    for case in cases:
        for arm in arms_here(case, wanted.arms):
            yield _held(measured(case, arm, timer), case, ceilings) | {"role": "operator"}
    if "ipex" in wanted.arms:
        for case, record in ipex_records(wanted, cases):
            yield _held(record, case, ceilings) | {"role": "operator"}


def _held(record: CaseRecord, case: Case, ceilings: Ceilings) -> CaseRecord:
    """The record with its ceiling, and the share of it that is reached with cold caches, in percent."""
    least_s = ceilings.seconds(case)
    held: CaseRecord = {
        "bound": ceilings.bound(case),
        "ceiling_us": None if least_s is None else round(least_s * 1e6, 3),
    }
    if record["status"] == "ok" and least_s is not None:
        held["percent_of_ceiling"] = round(100 * least_s * 1e6 / record["cold_median_us"], 2)
    return record | held


def _all_reduced(device: str) -> CaseRecord:
    about: CaseRecord = {
        "role": "collective",
        "kernel": "all_reduce",
        "shape": f"{ALL_REDUCE_MIB} MiB",
        "dtype": "bf16",
    }
    world = 1 if device == "cpu" else torch.accelerator.device_count()
    if world < 2:
        return about | {"status": "not applicable", "error": "there is one device"}
    try:
        return about | {"status": "ok", "devices": world} | all_reduce(device, world, ALL_REDUCE_MIB)
    except Exception as error:
        return about | {"status": "failed", "error": str(error)[:200]}
