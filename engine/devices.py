"""Which devices a machine has, and the environment that pins an engine to one of them.

Reads /sys only, so that planning needs neither torch nor a driver. Ray counts Intel GPUs only through
dpctl, so device counts are always given to it explicitly.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from core.environment import memory_bytes, processor_name
from core.errors import EngineError

DeviceKind = Literal["cpu", "xpu", "cuda"]

# PCI device ids of Intel Data Center GPU Max, with the tiles that each card shows in FLAT mode.
# Source: compute-runtime, devices_base.inl.
INTEL_MAX = {
    "0x0bd5": ("Intel Data Center GPU Max 1550", 2),
    "0x0bd6": ("Intel Data Center GPU Max 1550", 2),
    "0x0bd9": ("Intel Data Center GPU Max 1100", 1),
    "0x0bda": ("Intel Data Center GPU Max 1100", 1),
    "0x0bdb": ("Intel Data Center GPU Max 1100", 1),
}


@dataclass(frozen=True, slots=True)
class Device:
    """One engine's place: a GPU (a tile in FLAT mode), several for tensor parallel, or a share of a machine's cores.

    Attributes:
        kind: What it is.
        index: Number of the GPU on its machine; of the first one where there are several.
        name: Name of the product.
        cores: Cores of a share of the CPU.
        parallel: How many GPUs, or parts of the share, one engine spans; they stand side by side.
        node: Ray's id of the machine; empty for this one.
        host: Name of the machine in a cluster; empty for this one.
    """

    kind: DeviceKind
    index: int
    name: str
    cores: tuple[int, ...] = ()
    parallel: int = 1
    node: str = ""
    host: str = ""

    def __str__(self) -> str:
        last = f"-{self.index + self.parallel - 1}" if self.parallel > 1 and self.kind != "cpu" else ""
        return f"{self.host}{'/' if self.host else ''}{self.kind}:{self.index}{last}"


def find_devices(kind: str, replicas: int, *, parallel: int = 1, sysfs: Path = Path("/sys")) -> list[Device]:
    """The devices of this machine to start engines on, one engine each.

    Args:
        kind: "auto", "cpu", "xpu" or "cuda"; "auto" takes GPUs if there are any.
        replicas: How many to use; 0 means all GPUs, or one share of the CPU.
        parallel: How many GPUs one engine spans.
        sysfs: Root of the sys file system; tests give a fake one.

    Raises:
        EngineError: fewer devices are there than asked for.
    """
    gpus = {"xpu": _intel_gpus, "cuda": _nvidia_gpus}
    if kind == "auto":
        kind = next((name for name, find in gpus.items() if find(sysfs)), "cpu")
    if kind == "cpu":
        return _cpu_shares(replicas or 1, parallel)
    found = gpus[kind](sysfs)
    needed = max(replicas, 1) * parallel
    if len(found) < needed:
        raise EngineError(f"engine.device = {kind!r}: {needed} needed, {len(found)} found", mend="xpoll doctor")
    groups = [replace(found[i], parallel=parallel) for i in range(0, len(found) - parallel + 1, parallel)]
    return groups[:replicas] if replicas else groups


def _cpu_shares(replicas: int, parallel: int) -> list[Device]:
    cores = sorted(os.sched_getaffinity(0))
    if replicas * parallel > len(cores):
        raise EngineError(
            f"engine.replicas x engine.tensor_parallel = {replicas * parallel} is more than the {len(cores)} cores",
            mend="set them lower",
        )
    size = len(cores) // (replicas * parallel) * parallel
    name = processor_name()
    return [Device("cpu", i, name, tuple(cores[i * size : (i + 1) * size]), parallel) for i in range(replicas)]


def _intel_gpus(sysfs: Path) -> list[Device]:
    devices: list[Device] = []
    # Sorted by PCI address, the order that ZE_ENABLE_PCI_ID_DEVICE_ORDER=1 gives Level Zero.
    cards = sorted({card.resolve() for card in sysfs.glob("class/drm/card[0-9]*/device")}, key=lambda card: card.name)
    for card in cards:
        if _read(card / "vendor") == "0x8086" and (known := INTEL_MAX.get(_read(card / "device"))):
            name, tiles = known
            devices += [Device("xpu", len(devices) + tile, name) for tile in range(tiles)]
    return devices


def _nvidia_gpus(sysfs: Path) -> list[Device]:
    proc = Path("/proc/driver/nvidia/gpus") if sysfs == Path("/sys") else sysfs / "nvidia-gpus"
    return [Device("cuda", i, "NVIDIA GPU") for i, _ in enumerate(sorted(proc.glob("*")))]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def pinning(device: Device) -> dict[str, str]:
    """Environment of the engine's process; it must be set before the process starts.

    Level Zero reads the mask once, so narrowing it later has no effect.
    """
    if device.kind == "cpu":
        size = len(device.cores) // device.parallel
        parts = [device.cores[i * size : (i + 1) * size] for i in range(device.parallel)]
        return {
            # Without it vLLM keeps one core back: on two cores that halves the rate.
            "VLLM_CPU_OMP_THREADS_BIND": "|".join(",".join(map(str, part)) for part in parts),
            "OMP_NUM_THREADS": str(max(size, 1)),  # a simulated device may have no core
            "VLLM_CPU_KVCACHE_SPACE": os.environ.get("VLLM_CPU_KVCACHE_SPACE", str(kv_cache_gib(memory_bytes()))),
            "CUDA_VISIBLE_DEVICES": "",
        }
    gpus = ",".join(str(device.index + i) for i in range(device.parallel))
    if device.kind == "cuda":
        return {"CUDA_VISIBLE_DEVICES": gpus, "RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES": "1"}
    return {
        "ZE_AFFINITY_MASK": gpus,
        "ZE_FLAT_DEVICE_HIERARCHY": "FLAT",
        "ZE_ENABLE_PCI_ID_DEVICE_ORDER": "1",
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
        # Both or neither: with one of them Ray re-indexes the selector and picks the wrong card.
        "RAY_EXPERIMENTAL_NOSET_ONEAPI_DEVICE_SELECTOR": "1",
        "RAY_EXPERIMENTAL_NOSET_ZE_AFFINITY_MASK": "1",
    }


def kv_cache_gib(memory: int) -> int:
    """KV cache of a CPU engine in GiB: an eighth of the memory, at least 1 and at most 16."""
    return max(1, min(16, memory // 2**33))


def describe(devices: Sequence[Device]) -> str:
    """The devices in one phrase, e.g. "2 x cpu (AMD EPYC)"."""
    hosts = {device.host for device in devices}
    where = f" on {len(hosts)} nodes" if len(hosts) > 1 else ""
    return f"{len(devices)} x {devices[0].kind} ({devices[0].name}){where}"
