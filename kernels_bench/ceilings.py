"""Measures a device's ceilings: GEMM at a favourable size, STREAM triad, and both with other tools for comparison.

A ceiling is the best of all samples, as STREAM reports it: a median would show how busy the machine was.
Percentages are of these measured ceilings. Published peaks are reported as well where they are known.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import torch

from xpoll.kernels_bench.arms import CaseRecord
from xpoll.kernels_bench.cases import Case, gemm
from xpoll.kernels_bench.memory import SCALAR, array_mib, memory_cases
from xpoll.kernels_bench.timing import Timer, Times

GEMM_SIZE = {"cpu": 2048}
LARGE_GEMM_SIZE = 8192


@dataclass(slots=True)
class Ceilings:
    """Measured peaks of one device.

    Attributes:
        flop_per_s: Peak of GEMM by dtype, in FLOP/s, without dtypes that the device cannot multiply.
        bytes_per_s: Peak of STREAM triad, in bytes/s.
    """

    flop_per_s: dict[str, float] = field(default_factory=dict)
    bytes_per_s: float = 0.0

    def seconds(self, case: Case) -> float | None:
        """The shortest possible time of a case in seconds; None where the peak of its dtype is not known."""
        moving_s = case.moved_bytes / self.bytes_per_s
        if case.kernel != "gemm" and not case.kernel.startswith("attention"):
            return moving_s  # operators on rows do not use the matrix units that GEMM measures
        peak = self.flop_per_s.get(case.dtype)
        return None if peak is None else max(moving_s, case.flop / peak)

    def bound(self, case: Case) -> str | None:
        """The bound of a case: "compute" or "memory"; None where the peak of its dtype is not known."""
        least_s = self.seconds(case)
        if least_s is None:
            return None
        return "memory" if least_s == case.moved_bytes / self.bytes_per_s else "compute"


def measure_ceilings(device: str, dtypes: list[str], timer: Timer) -> tuple[Ceilings, list[CaseRecord]]:
    """Measures the peaks.

    Args:
        device: "cpu", or a name that torch.accelerator knows.
        dtypes: Names in DTYPES for GEMM.
        timer: Times on the device.

    Returns:
        The ceilings; and a record per ceiling, then one with the same figures by tools that share no code with
        PyTorch, measured in the same minute.
    """
    size = GEMM_SIZE.get(device, LARGE_GEMM_SIZE)
    cases = [*reversed(memory_cases(array_mib(device))), *(_square(size, dtype) for dtype in dtypes)]
    others = other_tools() if device == "cpu" else []
    times = timer.in_turn([*(partial(case.eager, *case.inputs(device)) for case in cases), *(o.call for o in others)])
    ceilings = Ceilings()
    records = [_ceiling(case, found, ceilings) for case, found in zip(cases, times, strict=False)]
    opinion: CaseRecord = {"gemm_gflop_per_s": None, "triad_gb_per_s": None}
    for other, found in zip(others, times[len(cases) :], strict=True):
        opinion[other.figure] = other.size / found.least_s / 1e9
    return ceilings, [*records, {"role": "second opinion", "kernel": "ceilings", **opinion}]


def _square(size: int, dtype: str) -> Case:
    """A square GEMM into allocated memory: a new output would be paged in at every call.

    The second matrix has the fastest layout: for half types on a CPU, oneDNN has no kernel for one stored by rows.
    """
    case = gemm(f"{size} x {size} x {size}", size, size, size, dtype)
    if dtype == "int8":
        return case

    def inputs(device: str) -> list[torch.Tensor]:
        x, w = case.inputs(device)
        return [x, w if dtype == "fp32" else w.T, torch.empty_like(x)]

    return replace(case, inputs=inputs, eager=lambda x, w, out: torch.mm(x, w, out=out))


def _ceiling(case: Case, times: Times, ceilings: Ceilings) -> CaseRecord:
    if case.kernel == "triad":
        ceilings.bytes_per_s = case.moved_bytes / times.least_s
    elif case.kernel == "gemm":
        ceilings.flop_per_s[case.dtype] = case.flop / times.least_s
    record: CaseRecord = {"role": "ceiling", "status": "ok"}
    record |= {"kernel": case.kernel, "model": case.model, "shape": case.shape, "dtype": case.dtype, "arm": "eager"}
    record |= {"flop": case.flop, "moved_bytes": case.moved_bytes}
    record |= times.microseconds("warm") | {"warm_least_us": round(times.least_s * 1e6, 3)}
    rates = {"gflop_per_s": case.flop / times.least_s / 1e9, "gb_per_s": case.moved_bytes / times.least_s / 1e9}
    return record | rates


class OtherTool(NamedTuple):
    """A call of another tool.

    Attributes:
        figure: Name of the figure that it measures.
        size: Work of a call: floating-point operations, or bytes.
        call: The call.
    """

    figure: str
    size: float
    call: Callable[[], Any]


def other_tools() -> list[OtherTool]:
    """GEMM by numpy's BLAS (fp32), and STREAM triad compiled by numba, both at the sizes of our own ceilings."""
    import numpy as np

    size, values = GEMM_SIZE["cpu"], array_mib("cpu") * 2**18
    generator = np.random.default_rng(0)
    x, w, out = (generator.standard_normal((size, size), dtype=np.float32) for _ in range(3))
    arrays = [np.full(values, float(i), dtype=np.float32) for i in range(3)]
    loop = _numba_triad()
    return [
        OtherTool("gemm_gflop_per_s", 2.0 * size**3, lambda: np.matmul(x, w.T, out=out)),
        OtherTool("triad_gb_per_s", 12.0 * values, lambda: loop(*arrays)),
    ]


def _numba_triad() -> Callable[..., Any]:
    import numba
    import numpy as np

    numba.set_num_threads(torch.get_num_threads())
    scalar = np.float32(SCALAR)

    def loop(a: Any, b: Any, c: Any) -> None:
        for i in numba.prange(a.shape[0]):
            a[i] = b[i] + scalar * c[i]

    compiled: Callable[..., Any] = numba.njit(loop, parallel=True)
    return compiled


def known_dtypes(device: str, dtypes: list[str]) -> list[str]:
    """The subset of `dtypes` that a device can multiply, tried on a small matrix."""
    known = []
    for dtype in dtypes:
        case = gemm("", 64, 64, 64, dtype)
        try:
            case.eager(*case.inputs(device))
        except (RuntimeError, NotImplementedError):
            continue
        known.append(dtype)
    return known
