"""One arm of a case: the operator in PyTorch, compiled, vLLM's own or IPEX's, timed once it computes the same."""

from collections.abc import Sequence
from typing import Any

import torch

from xpoll.kernels_bench.cases import Call, Case
from xpoll.kernels_bench.timing import Timer

TOLERANCE = 0.05  # bf16 has 8 bits; sums in another order differ in the last ones
SHARE_ALIKE = 0.999

CaseRecord = dict[str, Any]


def arms_here(case: Case, wanted: Sequence[str]) -> list[str]:
    """Those of `wanted` that a case has in this process; IPEX's run in another one, see ipex.py."""
    there = {"eager": True, "compile": case.compiles, "vllm": case.own is not None}
    return [arm for arm in wanted if there.get(arm)]


def measured(case: Case, arm: str, timer: Timer) -> CaseRecord:
    """The case by that arm, with warm and with cold caches; no times where it failed or computes something else."""
    about: CaseRecord = identity(case) | {"arm": arm, "flop": case.flop, "moved_bytes": case.moved_bytes}
    try:
        call = _call(case, arm, timer.device)
        warm, cold = timer.warm(call), timer.cold(call)
    except Exception as error:  # an operator that a device does not have is a finding, not the end of the run
        return about | {"status": "failed", "error": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
    rates = {"gflop_per_s": case.flop / warm.median_s / 1e9, "gb_per_s": case.moved_bytes / warm.median_s / 1e9}
    return about | {"status": "ok"} | warm.microseconds("warm") | cold.microseconds("cold") | rates


def identity(case: Case) -> CaseRecord:
    """What tells a case from the others."""
    return {"kernel": case.kernel, "model": case.model, "shape": case.shape, "dtype": case.dtype}


def _call(case: Case, arm: str, device: str) -> Call:
    """The arm as a call, once it was seen to compute what PyTorch does.

    Raises:
        ValueError: it computes something else.
    """
    inputs = case.inputs(device)
    if arm == "eager":
        return lambda: case.eager(*inputs)
    expected = case.eager(*inputs)
    call = _other(case, arm, inputs)
    pairs = zip(_listed(expected), _listed(call()), strict=True)
    if not all(_alike(a.float(), b.float()) for a, b in pairs):
        raise ValueError("it computes something else than PyTorch does")
    return call


def _other(case: Case, arm: str, inputs: Sequence[Any]) -> Call:
    if arm == "compile":
        compiled = torch.compile(case.eager, dynamic=False)
        return lambda: compiled(*inputs)
    if arm == "ipex":
        from xpoll.kernels_bench.ipex_operators import OPERATORS

        return OPERATORS[case.kernel](*inputs)
    assert case.own is not None
    return case.own(*inputs)


def _alike(expected: torch.Tensor, found: torch.Tensor) -> bool:
    """Whether nearly all values agree: a sum in another order may put single tokens on the other side of top-p."""
    size = expected[expected.isfinite()].abs().mean().item()
    close = torch.isclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE * size)
    return bool(close.float().mean() >= SHARE_ALIKE)


def _listed(found: Any) -> list[torch.Tensor]:
    return list(found) if isinstance(found, list | tuple) else [found]
