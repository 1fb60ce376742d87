"""Known failures of engines, recognised in their output: each with a name, its cause and a fix.

The patterns are of messages of the Level Zero and SYCL runtimes, PyTorch and vLLM. vLLM's own error at the end
of a failed start only points to "the root cause above", so the lines before it are searched.
"""

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

Name = Literal[
    "device lost",
    "out of device memory",
    "free memory reads 0",
    "context does not fit",
    "no device visible",
    "foreign SYCL runtime",
    "loader missing",
    "model inspection died",
    "CCL does not start",
    "XPU kernels do not load",
    "no such attention kernel",
    "attention is not for this card",
    "Ray refuses the mask",
]


_PREFIX = re.compile(r"^(\(\w+ pid=\d+\) )?((ERROR|WARNING|INFO|CRITICAL) \d\d-\d\d \d\d:\d\d:\d\d \[[^\]]*\] )?")
_ERROR = re.compile(r"^([\w.]*(Error|Exception|Interrupt)\b: .|[\w ./-]*\berror: )")


class Failure(NamedTuple):
    """A known failure.

    Attributes:
        name: Its name.
        pattern: Regular expression to search in the engine's output, ignoring case.
        what: The cause, in words.
        mend: What fixes it.
    """

    name: Name
    pattern: str
    what: str
    mend: str

    def __str__(self) -> str:
        return f"{self.name}: {self.what} -> {self.mend}"


FAILURES = (
    Failure(
        "free memory reads 0",
        r"Free memory on device[^\n]*\(0(\.0+)?/|ext_intel_free_memory",
        "vLLM reads 0 bytes of free memory, as its kernels before 0.1.15 do under drivers before 26.18",
        "Arc: a driver of 26.18 or newer; Max: the modern or the lts stack as a whole; xpoll doctor says which command",
    ),
    Failure(
        "device lost",
        r"RESULT_ERROR_DEVICE_LOST|level_zero backend failed with error: 20\b",
        "the GPU was reset or fell off the bus",
        "sudo dmesg | grep -iE 'i915|xe', then xpoll doctor",
    ),
    Failure(
        "context does not fit",
        r"larger than the available KV cache memory|larger than the maximum number of tokens that can be stored",
        "one sequence of the model's context needs more KV cache than is left",
        "set engine.vllm.max_model_len to what xpoll plan says fits",
    ),
    Failure(
        "out of device memory",
        r"RESULT_ERROR_OUT_OF_(DEVICE_MEMORY|RESOURCES)|level_zero backend failed with error: (39|40)\b"
        r"|XPU out of memory|OutOfMemoryError|No available memory for the cache blocks",
        "the device's memory does not hold weights, activations and KV cache",
        "set engine.vllm.max_num_seqs or engine.vllm.max_model_len lower; xpoll plan says what fits",
    ),
    Failure(
        "foreign SYCL runtime",
        r"undefined symbol: ur\w+|libsycl\.so[^\n]*undefined symbol",
        "another oneAPI's libraries are loaded before those PyTorch came with",
        "xpoll doctor names the folder; put the environment's lib first on LD_LIBRARY_PATH",
    ),
    Failure(
        "loader missing",
        r"libze_loader\.so[^\n]*(cannot open|No such file)",
        "the Level Zero loader is not installed",
        "sudo apt install libze1 libze-intel-gpu1",
    ),
    Failure(
        "no device visible",
        r"No XPU devices are available|PyTorch was compiled without XPU|no (available )?devices? (found|of requested)",
        "the engine's process sees no GPU",
        "xpoll doctor",
    ),
    Failure(
        "model inspection died",
        r"failed to be inspected",
        "the process in which vLLM looks at the model's class died (seen on Aurora with vLLM 0.15)",
        "fill $VLLM_CACHE_ROOT/modelinfos on a machine where it works, and copy it",
    ),
    Failure(
        "CCL does not start",
        r"CCL_ERROR|oneCCL: [^\n]*(fail|error)|xccl[^\n]*(fail|timed? ?out)",
        "oneCCL, which even one engine on one GPU starts, cannot reach its own process",
        "export FI_TCP_IFACE=lo CCL_PROCESS_LAUNCHER=none; unset ONEAPI_DEVICE_SELECTOR",
    ),
    Failure(
        "attention is not for this card",
        r"Only XE2(/XE3)? cutlass kernel",
        "vllm-xpu-kernels has attention for Max, Battlemage and later, not for this card",
        'engine.vllm.attention_backend = "TRITON_ATTN"',
    ),
    Failure(
        "no such attention kernel",
        r"kernel tuple not compiled|not compiled for this configuration",
        "the wheel of vllm-xpu-kernels holds no kernel for the model's head size with these blocks",
        'engine.vllm.attention_backend = "TRITON_ATTN" (slower), or another model',
    ),
    Failure(
        "Ray refuses the mask",
        r"Attempting to start raylet with \d+ \w+, but",
        "ZE_AFFINITY_MASK or ONEAPI_DEVICE_SELECTOR names fewer GPUs than Ray was told of",
        "unset ONEAPI_DEVICE_SELECTOR ZE_AFFINITY_MASK where Ray is started",
    ),
    # Last: vLLM passes over why the kernels do not load and says only this.
    Failure(
        "XPU kernels do not load",
        r"Failed to infer device type|vllm_xpu_kernels[^\n]*(undefined symbol|cannot open|partially initialized)"
        r"|No module named 'vllm_xpu_kernels",
        "vLLM finds no platform: its XPU kernels are missing, or were built for another torch",
        "python -c 'import vllm_xpu_kernels._C' says why, xpoll doctor which versions fit",
    ),
)
"""In order of precedence: the first match is the cause, others may follow from it."""


def failure_in(output: str) -> Failure | None:
    """The first known failure that matches an engine's output; None without a match."""
    return next((failure for failure in FAILURES if re.search(failure.pattern, output, re.IGNORECASE)), None)


def last_error(lines: Sequence[str]) -> str:
    """The last error in an engine's output, at most 400 characters; empty without any line.

    vLLM's final error, which only points to an earlier one, is skipped.
    """
    plain = [_PREFIX.sub("", line).strip() for line in lines]
    errors = [line for line in plain if _ERROR.match(line) and "Engine core initialization failed" not in line]
    found = errors or [short for short, line in zip(plain, lines, strict=True) if short and "INFO" not in line]
    return found[-1][:400] if found else ""
