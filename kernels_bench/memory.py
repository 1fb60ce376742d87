"""Copy and triad, counted as STREAM does: bytes that the program names, without what a cache fetches beside."""

import torch

from xpoll.kernels_bench.cases import Case
from xpoll.kernels_bench.timing import last_cache_mib

SCALAR = 3.0


def array_mib(device: str) -> int:
    """STREAM wants arrays of at least four times the last cache; accelerators get more than any of theirs."""
    return 4 * last_cache_mib() if device == "cpu" else 1024


def memory_cases(mib: int) -> list[Case]:
    """Copy a = b and triad a = b + 3 c over fp32 arrays of so many MiB each."""
    values = mib * 2**20 // 4

    def arrays(device: str) -> list[torch.Tensor]:
        # Written before they are read, so that no two pages are the same zero page.
        return [torch.full((values,), float(i), device=device) for i in range(3)]

    shape = f"{mib} MiB"
    return [
        Case("copy", "", shape, "fp32", 0.0, 8.0 * values, arrays, lambda a, b, c: a.copy_(b), compiles=False),
        Case("triad", "", shape, "fp32", 2.0 * values, 12.0 * values, arrays, triad, compiles=False),
    ]


def triad(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    """a = b + 3 c."""
    return torch.add(b, c, alpha=SCALAR, out=a)
