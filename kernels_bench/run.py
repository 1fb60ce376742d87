"""Runs the selected operators on one device and yields a record for each, ceilings first.

A record of a failed operator, or of one whose results differ from PyTorch's, has no times.
"""

from collections.abc import Iterator

import torch

from xpoll.core.machine.device import best_device
from xpoll.kernels_bench.arms import CaseRecord, arms_here, measured
from xpoll.kernels_bench.cases import Case
from xpoll.kernels_bench.ceilings import Ceilings, known_dtypes, measure_ceilings
from xpoll.kernels_bench.collective import all_reduce
from xpoll.kernels_bench.ipex import ipex_records
from xpoll.kernels_bench.selection import CaseSelection, cases_of
from xpoll.kernels_bench.timing import Timer

ALL_REDUCE_MIB = 64


def device_here() -> str:
    """Type of the accelerator that PyTorch finds, or "cpu"."""
    return str(best_device().type)


def run_kernels(selection: CaseSelection) -> Iterator[CaseRecord]:
    """One record per operator, shape and arm; the first ones are the ceilings.

    Args:
        selection: Device, cases and arms.
    """
    torch.manual_seed(0)
    timer = Timer(selection.device, samples=selection.samples, most_s=selection.most_s)
    dtypes = known_dtypes(selection.device, list(dict.fromkeys([*selection.dtypes, "fp32"])))
    ceilings, records = measure_ceilings(selection.device, dtypes, timer)
    yield from records
    yield _all_reduced(selection.device)
    cases = list(cases_of(selection, dtypes))
    for case in cases:
        for arm in arms_here(case, selection.arms):
            yield _with_ceiling(measured(case, arm, timer), case, ceilings) | {"role": "operator"}
    if "ipex" in selection.arms:
        for case, record in ipex_records(selection, cases):
            yield _with_ceiling(record, case, ceilings) | {"role": "operator"}


def _with_ceiling(record: CaseRecord, case: Case, ceilings: Ceilings) -> CaseRecord:
    """The record with its ceiling, and the percentage of it that is reached with cold caches."""
    least_s = ceilings.seconds(case)
    added: CaseRecord = {
        "bound": ceilings.bound(case),
        "ceiling_us": None if least_s is None else round(least_s * 1e6, 3),
    }
    if record["status"] == "ok" and least_s is not None:
        added["percent_of_ceiling"] = round(100 * least_s * 1e6 / record["cold_median_us"], 2)
    return record | added


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
