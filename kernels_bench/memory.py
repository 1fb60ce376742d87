"""Copy and triad, counted as STREAM does: the bytes that the program names, without extra cache traffic."""

import torch

from xpoll.kernels_bench.cases import Case
from xpoll.kernels_bench.timing import last_cache_mib

SCALAR = 3.0


def array_mib(device: str) -> int:
    """Size of an array in MiB: four times the last-level cache, as STREAM requires; 1024 on accelerators."""
    return 4 * last_cache_mib() if device == "cpu" else 1024


def memory_cases(mib: int) -> list[Case]:
    """The cases copy a = b and triad a = b + 3 c.

    Args:
        mib: Size of each fp32 array in MiB.
    """
    values = mib * 2**20 // 4

    def arrays(device: str) -> list[torch.Tensor]:
        # Written before they are read, so that no pages share the zero page.
        return [torch.full((values,), float(i), device=device) for i in range(3)]

    shape = f"{mib} MiB"
    return [
        Case("copy", "", shape, "fp32", 0.0, 8.0 * values, arrays, lambda a, b, _: a.copy_(b), compiles=False),
        Case("triad", "", shape, "fp32", 2.0 * values, 12.0 * values, arrays, triad, compiles=False),
    ]


def triad(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    """Computes a = b + 3 c in place."""
    return torch.add(b, c, alpha=SCALAR, out=a)
