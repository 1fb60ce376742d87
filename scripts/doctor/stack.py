"""Whether the versions of torch, vLLM and its XPU kernels fit each other and the cards of this machine.

Reads versions of installed packages; imports none of them. The table is of what was released together
(see docs/intel-gpus.md for sources); none of it was run on an Intel GPU.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from xpoll.engine.devices.intel_cards import read_cards
from xpoll.scripts.doctor.finding import Finding

Versions = Callable[[str], str | None]
Version = tuple[int, ...]

MODERN = (
    "pip install vllm vllm-xpu-kernels --extra-index-url https://wheels.vllm.ai/nightly/xpu "
    "--extra-index-url https://download.pytorch.org/whl/xpu (in an environment of its own; docs/intel-gpus.md)"
)


class Pairing(NamedTuple):
    """Releases of vllm-xpu-kernels up to and including `last`, and the torch they were built for."""

    last: Version
    torch: Version


KERNELS = (
    Pairing((0, 1, 6), (2, 10)),
    Pairing((0, 1, 9), (2, 11)),
    Pairing((0, 1, 11, 1), (2, 12)),
    Pairing((0, 1, 15, 1), (2, 13)),
    Pairing((0, 1, 9999), (2, 14)),
)
"""Tags of vllm-xpu-kernels; those from 0.1.15.3 on are built for torch 2.14."""
READS_NO_MEMORY = ((0, 1, 10), (0, 1, 13, 1))
"""Releases that read free memory as 0 under the drivers of Data Center GPU Max (vllm PR 47820, kernels PR 499)."""
FIRST_WITHOUT_IPEX = (0, 16)


def stack_findings(version: Versions) -> list[Finding]:
    """Findings on the installed versions; none where no Intel GPU can be used."""
    usable = [card for card in read_cards() if card.is_discrete and not card.problem]
    if not usable:
        return []
    found = [*_torch(version), *_kernels(version, has_max=any(card.product.family == "max" for card in usable))]
    return [*found, _ray(version, len(usable)), *_triton(version)]


def _torch(version: Versions) -> list[Finding]:
    torch = version("torch")
    if torch is None:
        return []  # said already: a run needs it
    if "+xpu" in torch or "xpu" in (version("vllm") or ""):
        return [Finding("torch for XPU", "ok", torch)]
    why = "this build cannot use the Intel GPU: engine.device = 'auto' takes the CPU, and 'xpu' does not start"
    mend = f'{MODERN}; or name another environment: engine.server_command = ["/opt/vllm/bin/vllm", "serve"]'
    return [Finding("torch for XPU", "warning", torch, why, mend)]


def _kernels(version: Versions, *, has_max: bool) -> list[Finding]:
    vllm, kernels, ipex = version("vllm"), version("vllm-xpu-kernels"), version("intel-extension-for-pytorch")
    if vllm is None:
        return []
    if number(vllm) < FIRST_WITHOUT_IPEX:
        return [_with_ipex(vllm, ipex, version("torch") or "")]
    if kernels is None:
        why = f"vLLM {vllm} computes attention on XPU with it"
        return [Finding("vllm-xpu-kernels", "warning", "missing", why, MODERN)]
    torch = version("torch") or ""
    wanted = next(pairing.torch for pairing in KERNELS if number(kernels) <= pairing.last)
    found = Finding("vllm-xpu-kernels", "ok", kernels)
    if number(torch)[:2] != wanted:
        wanted_text = ".".join(map(str, wanted))
        why = f"it was built for torch {wanted_text}, and {torch or 'none'} is here"
        mend = f"pip install 'torch=={wanted_text}.*' --index-url https://download.pytorch.org/whl/xpu"
        found = Finding("vllm-xpu-kernels", "warning", kernels, why, mend)
    first, last = READS_NO_MEMORY
    if has_max and first <= number(kernels) <= last:
        why = "under the long-term drivers of Data Center GPU Max free memory reads 0, and no engine starts"
        mend = "pip install 'vllm-xpu-kernels>=0.1.15', or the lts stack (vLLM 0.15 with IPEX 2.10)"
        return [found, Finding("free memory", "warning", f"vllm-xpu-kernels {kernels}", why, mend)]
    return [found]


def _with_ipex(vllm: str, ipex: str | None, torch: str) -> Finding:
    if ipex is None:
        why = f"vLLM {vllm} computes on XPU with it"
        mend = "pip install the wheels of the lts stack (docs/intel-gpus.md)"
        return Finding("intel-extension-for-pytorch", "warning", "missing", why, mend)
    if number(ipex)[:2] != number(torch)[:2]:
        why = f"it needs the torch of its own number, and {torch or 'none'} is here"
        mend = f"pip install 'torch=={'.'.join(map(str, number(ipex)[:2]))}.*'"
        return Finding("intel-extension-for-pytorch", "warning", ipex, why, mend)
    return Finding("intel-extension-for-pytorch", "ok", ipex)


def _ray(version: Versions, cards: int) -> Finding:
    """Ray counts Intel GPUs only through dpctl; xpoll declares them itself, a cluster has to be told."""
    dpctl = version("dpctl")
    seen = f"asks dpctl {dpctl}" if dpctl else "would count 0 (dpctl is not installed)"
    why = "xpoll declares the GPUs of its own Ray itself; on a cluster: ray start --num-gpus=N on each node"
    return Finding("Ray and Intel GPUs", "ok", f"{seen}; {cards} usable", why)


def _triton(version: Versions) -> list[Finding]:
    triton, xpu = version("triton"), version("triton-xpu")
    if triton and not xpu and "+xpu" not in triton:
        why = "beside a torch for XPU it gives wrong results or errors (vLLM's installation page)"
        return [Finding("triton", "warning", triton, why, "pip uninstall triton, then pip install triton-xpu")]
    return []


def number(version: str) -> Version:
    """The leading numbers of a version, "0.15.0rc1+xpu" as (0, 15, 0)."""
    return tuple(map(int, re.findall(r"\d+", re.match(r"[\d.]*", version)[0])))  # type: ignore[index]
