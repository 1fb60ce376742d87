"""Runs the operators of chosen models on one device and yields a record for each, ceilings first.

A record that failed, or whose operator computes something else than PyTorch does, has no times.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from core.device import best_device
from kernels_bench.attention import attention_cases
from kernels_bench.cases import Call, Case, layer_gemms, row_cases
from kernels_bench.ceilings import Ceilings, Record, known_dtypes, measure_ceilings
from kernels_bench.collective import all_reduce
from kernels_bench.timing import Timer

ALL_REDUCE_MIB = 64
TOLERANCE = 0.05  # bf16 has 8 bits; sums in another order differ in the last ones
SHARE_ALIKE = 0.999


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to run.

    Attributes:
        device: "cpu" or what torch.accelerator has.
        models: Names in SHAPES.
        dtypes: Of GEMM; the first is that of all else.
        arms: Of "eager", "compile" and "vllm".
        decode_tokens: Rows of a decode step, which is as many sequences.
        prefill_tokens: Rows of a prefill, and the context of a decode.
        samples: Times a median is over.
        most_s: Time after which no more samples of an arm are taken.
    """

    device: str
    models: Sequence[str]
    dtypes: Sequence[str]
    arms: Sequence[str]
    decode_tokens: int
    prefill_tokens: int
    samples: int
    most_s: float


def device_here() -> str:
    """The accelerator that PyTorch has, or "cpu"."""
    return str(best_device().type)


def run_kernels(wanted: Wanted) -> Iterator[Record]:
    """One record an operator, shape and arm; the first ones are the ceilings that the others are held against."""
    torch.manual_seed(0)
    timer = Timer(wanted.device, samples=wanted.samples, most_s=wanted.most_s)
    dtypes = known_dtypes(wanted.device, list(dict.fromkeys([*wanted.dtypes, "fp32"])))
    ceilings, records = measure_ceilings(wanted.device, dtypes, timer)
    yield from records
    yield _all_reduced(wanted.device)
    for case in _cases(wanted, dtypes):
        for arm in _arms(case, wanted.arms):
            yield _held(_measured(case, arm, timer, cold=True), case, ceilings) | {"role": "operator"}


def _cases(wanted: Wanted, dtypes: Sequence[str]) -> Iterator[Case]:
    main = wanted.dtypes[0]
    for model in wanted.models:
        for tokens in (wanted.decode_tokens, wanted.prefill_tokens):
            for dtype in [dtype for dtype in wanted.dtypes if dtype in dtypes]:
                yield from layer_gemms(model, tokens, dtype)
        yield from row_cases(model, wanted.decode_tokens, main)
        yield from attention_cases(
            model,
            main,
            prompt=wanted.prefill_tokens,
            sequences=wanted.decode_tokens,
            context=wanted.prefill_tokens,
        )


def _arms(case: Case, wanted: Sequence[str]) -> list[str]:
    there = {"eager": True, "compile": case.compiles, "vllm": case.own is not None}
    return [arm for arm in wanted if there[arm]]


def _measured(case: Case, arm: str, timer: Timer, *, cold: bool = False) -> Record:
    about: Record = {"kernel": case.kernel, "model": case.model, "shape": case.shape, "dtype": case.dtype, "arm": arm}
    about |= {"flop": case.flop, "moved_bytes": case.moved_bytes}
    try:
        call = _call(case, arm, timer.device)
        warm = timer.warm(call)
        times = {"warm": warm} | ({"cold": timer.cold(call)} if cold else {})
    except Exception as error:  # an operator that a device does not have is a finding, not the end of the run
        return about | {"status": "failed", "error": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
    rates = {"gflop_per_s": case.flop / warm.median_s / 1e9, "gb_per_s": case.moved_bytes / warm.median_s / 1e9}
    figures = {key: value for name, taken in times.items() for key, value in taken.microseconds(name).items()}
    return about | {"status": "ok"} | figures | rates


def _call(case: Case, arm: str, device: str) -> Call:
    """The arm as a call, once it was seen to compute what PyTorch does.

    Raises:
        ValueError: it computes something else.
    """
    inputs = case.inputs(device)
    if arm == "eager":
        return lambda: case.eager(*inputs)
    expected = case.eager(*inputs)
    if arm == "compile":
        compiled = torch.compile(case.eager, dynamic=False)

        def call() -> Any:
            return compiled(*inputs)
    else:
        assert case.own is not None
        call = case.own(*inputs)
    pairs = zip(_listed(expected), _listed(call()), strict=True)
    if not all(_alike(a.float(), b.float()) for a, b in pairs):
        raise ValueError("it computes something else than PyTorch does")
    return call


def _alike(expected: torch.Tensor, found: torch.Tensor) -> bool:
    """Whether nearly all values agree: a sum in another order may put single tokens on the other side of top-p."""
    size = expected[expected.isfinite()].abs().mean().item()
    close = torch.isclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE * size)
    return bool(close.float().mean() >= SHARE_ALIKE)


def _listed(found: Any) -> list[torch.Tensor]:
    return list(found) if isinstance(found, list | tuple) else [found]


def _held(record: Record, case: Case, ceilings: Ceilings) -> Record:
    """The record with its ceiling, and the share of it that is reached with cold caches, in percent."""
    least_s = ceilings.seconds(case)
    held: Record = {"bound": ceilings.bound(case), "ceiling_us": None if least_s is None else round(least_s * 1e6, 3)}
    if record["status"] == "ok" and least_s is not None:
        held["percent_of_ceiling"] = round(100 * least_s * 1e6 / record["cold_median_us"], 2)
    return record | held


def _all_reduced(device: str) -> Record:
    about: Record = {"role": "collective", "kernel": "all_reduce", "shape": f"{ALL_REDUCE_MIB} MiB", "dtype": "bf16"}
    world = 1 if device == "cpu" else torch.accelerator.device_count()
    if world < 2:
        return about | {"status": "not applicable", "error": "there is one device"}
    try:
        return about | {"status": "ok", "devices": world} | all_reduce(device, world, ALL_REDUCE_MIB)
    except Exception as error:
        return about | {"status": "failed", "error": str(error)[:200]}
