"""Times one arm of a case: the operator in PyTorch, compiled, vLLM's or IPEX's, after a check of its results."""

from collections.abc import Sequence
from typing import Any

import torch

from xpoll.kernels_bench.cases import Call, Case
from xpoll.kernels_bench.timing import Timer

TOLERANCE = 0.05  # bf16 has 8 significant bits; sums in another order differ in the last ones
SHARE_ALIKE = 0.999  # of the values

CaseRecord = dict[str, Any]


def arms_here(case: Case, arms: Sequence[str]) -> list[str]:
    """The subset of `arms` that a case has in this process; IPEX's run in another one, see ipex.py."""
    available = {"eager": True, "compile": case.compiles, "vllm": case.own is not None}
    return [arm for arm in arms if available.get(arm)]


def measured(case: Case, arm: str, timer: Timer) -> CaseRecord:
    """The record of a case by one arm, with warm and cold caches; without times where it failed the check.

    Args:
        case: The case.
        arm: "eager", "compile", "vllm" or "ipex".
        timer: Times on the device.

    Returns:
        Identity, flop, moved_bytes and status; times in us and rates in GFLOP/s and GB/s, or the error.
    """
    about: CaseRecord = identity(case) | {"arm": arm, "flop": case.flop, "moved_bytes": case.moved_bytes}
    try:
        call = _call(case, arm, timer.device)
        warm, cold = timer.warm(call), timer.cold(call)
    except Exception as error:  # an operator that a device does not have is a finding, not the end of the run
        return about | {"status": "failed", "error": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
    rates = {"gflop_per_s": case.flop / warm.median_s / 1e9, "gb_per_s": case.moved_bytes / warm.median_s / 1e9}
    return about | {"status": "ok"} | warm.microseconds("warm") | cold.microseconds("cold") | rates


def identity(case: Case) -> CaseRecord:
    """The keys that identify a case: kernel, model, shape, dtype."""
    return {"kernel": case.kernel, "model": case.model, "shape": case.shape, "dtype": case.dtype}


def _call(case: Case, arm: str, device: str) -> Call:
    """The arm as a call, after a check that it computes the same as PyTorch.

    Raises:
        ValueError: its results differ.
    """
    inputs = case.inputs(device)
    if arm == "eager":
        return lambda: case.eager(*inputs)
    expected = case.eager(*inputs)
    call = _other(case, arm, inputs)
    pairs = zip(_listed(expected), _listed(call()), strict=True)
    if not all(_alike(a.float(), b.float()) for a, b in pairs):
        raise ValueError("its results differ from PyTorch's")
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
    """Whether SHARE_ALIKE of the values agree: a sum in another order may flip single tokens at the edge of top-p."""
    size = expected[expected.isfinite()].abs().mean().item()
    close = torch.isclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE * size)
    return bool(close.float().mean() >= SHARE_ALIKE)


def _listed(found: Any) -> list[torch.Tensor]:
    return list(found) if isinstance(found, list | tuple) else [found]
