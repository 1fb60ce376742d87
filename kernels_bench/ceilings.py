"""What a device could do at best, measured: GEMM at a size that suits it, and STREAM triad. And a second opinion.

Percentages are of these measured ceilings. Published peaks stand beside them where a device's are known;
an unknown one is null.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from kernels_bench.cases import Case, gemm
from kernels_bench.memory import SCALAR, array_mib, memory_cases, triad
from kernels_bench.timing import Timer

GEMM_SIZE = {"cpu": 2048}
LARGE_GEMM_SIZE = 8192


@dataclass(slots=True)
class Ceilings:
    """Measured peaks of one device; a dtype that it cannot multiply is left out."""

    flop_per_s: dict[str, float] = field(default_factory=dict)
    bytes_per_s: float = 0.0

    def seconds(self, case: Case) -> float | None:
        """The least time a case can take; None where the peak of its dtype is not known."""
        moving_s = case.moved_bytes / self.bytes_per_s
        if case.kernel != "gemm" and not case.kernel.startswith("attention"):
            return moving_s  # arithmetic on rows does not use the matrix units that GEMM measures
        peak = self.flop_per_s.get(case.dtype)
        return None if peak is None else max(moving_s, case.flop / peak)

    def bound(self, case: Case) -> str | None:
        """What bounds a case: "compute" or "memory"; None where the peak of its dtype is not known."""
        least_s = self.seconds(case)
        if least_s is None:
            return None
        return "memory" if least_s == case.moved_bytes / self.bytes_per_s else "compute"


def ceiling_cases(device: str, dtypes: list[str]) -> list[Case]:
    """Triad first, then a square GEMM of each dtype."""
    size = GEMM_SIZE.get(device, LARGE_GEMM_SIZE)
    square = [gemm(f"{size} x {size} x {size}", size, size, size, dtype) for dtype in dtypes]
    return [*reversed(memory_cases(array_mib(device))), *square]


def second_opinion(device: str, timer: Timer) -> dict[str, Any]:
    """The processor's peaks by tools that share no code with PyTorch's: numpy's BLAS, and a loop of numba's compiler.

    Returns:
        gemm_gflop_per_s (fp32) and triad_gb_per_s, and how many times as fast PyTorch was in the same seconds
        (gemm_in_pairs, triad_in_pairs); nulls on other devices.
    """
    if device != "cpu":
        return dict.fromkeys(("gemm_gflop_per_s", "triad_gb_per_s", "gemm_in_pairs", "triad_in_pairs"))
    import numpy as np

    size = GEMM_SIZE["cpu"]
    generator = np.random.default_rng(0)
    x, w, out = (generator.standard_normal((size, size), dtype=np.float32) for _ in range(3))
    gemm_s = timer.warm(lambda: np.matmul(x, w.T, out=out)).median_s
    ours = [torch.from_numpy(each) for each in (x, w)]
    gemm_in_pairs = timer.ratio(lambda: torch.nn.functional.linear(*ours), lambda: np.matmul(x, w.T, out=out))
    values = array_mib(device) * 2**18
    arrays = [np.full(values, float(i), dtype=np.float32) for i in range(3)]
    loop = _numba_triad()
    triad_s = timer.warm(lambda: loop(*arrays)).median_s
    tensors = [torch.from_numpy(each) for each in arrays]
    triad_in_pairs = timer.ratio(lambda: triad(*tensors), lambda: loop(*arrays))
    return {
        "gemm_gflop_per_s": 2.0 * size**3 / gemm_s / 1e9,
        "triad_gb_per_s": 12.0 * values / triad_s / 1e9,
        "gemm_in_pairs": round(gemm_in_pairs, 4),
        "triad_in_pairs": round(triad_in_pairs, 4),
    }


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


def known_dtypes(device: str, wanted: list[str]) -> list[str]:
    """Those of `wanted` that a device multiplies at all, tried on a small matrix."""
    known = []
    for dtype in wanted:
        case = gemm("", 64, 64, 64, dtype)
        try:
            case.eager(*case.inputs(device))
        except (RuntimeError, NotImplementedError):
            continue
        known.append(dtype)
    return known
