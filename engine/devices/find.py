"""Finds the devices of a machine, and makes the environment that pins an engine to one of them.

Reads /sys only, so that planning needs neither torch nor a driver. Ray counts Intel GPUs only via dpctl, so it
always gets explicit device counts.
"""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Literal

from xpoll.core.errors import EngineError
from xpoll.core.machine.environment import memory_bytes, processor_name
from xpoll.engine.devices.affinity import Hierarchy, given, places
from xpoll.engine.devices.cores import core_shares
from xpoll.engine.devices.intel_cards import Card, read_cards, sysfs_root
from xpoll.engine.devices.intel_products import product_named

DeviceKind = Literal["cpu", "xpu", "cuda"]

CCL = {
    "CCL_ATL_TRANSPORT": "ofi",
    "FI_TCP_IFACE": "lo",
    "CCL_PROCESS_LAUNCHER": "none",
}
"""oneCCL hangs where it waits for another launcher or interface; vLLM before 0.32 starts it even for one device."""
IPC_EXCHANGE = {"max": "sockets"}
"""How devices of one engine exchange handles: ALCF's setting for Max; elsewhere Intel's own images take "pidfd"."""


@dataclass(frozen=True, slots=True)
class Device:
    """The device of one engine: a GPU or tile, several for tensor parallelism, or a share of a machine's cores.

    Attributes:
        kind: "cpu", "xpu" or "cuda".
        index: Number of the GPU on its machine; of the first one where there are several.
        name: Name of the product.
        cores: Numbers of the cores, for a share of the CPU.
        parallel: How many GPUs, or parts of the share, one engine spans.
        node: Ray's id of the machine; empty for this one.
        host: Name of the machine in a cluster; empty for this one.
        numbers: Numbers of the GPUs where they are not consecutive from `index`; otherwise empty.
        memory_gib: Memory of each GPU in GiB; None where it is not known.
        pci_address: PCI address of its card, or of the first one.
        hierarchy: How Level Zero counts: by tile (FLAT) or by card (COMPOSITE).
    """

    kind: DeviceKind
    index: int
    name: str
    cores: tuple[int, ...] = ()
    parallel: int = 1
    node: str = ""
    host: str = ""
    numbers: tuple[int, ...] = ()
    memory_gib: float | None = None
    pci_address: str = ""
    hierarchy: Hierarchy = "FLAT"

    @property
    def mask(self) -> str:
        """Comma-separated numbers of its GPUs, for ZE_AFFINITY_MASK and CUDA_VISIBLE_DEVICES."""
        return ",".join(map(str, self.numbers or range(self.index, self.index + self.parallel)))

    def __str__(self) -> str:
        at = f"{self.host}{'/' if self.host else ''}{self.kind}:"
        if self.numbers:
            return at + "+".join(map(str, self.numbers))
        last = f"-{self.index + self.parallel - 1}" if self.parallel > 1 and self.kind != "cpu" else ""
        return f"{at}{self.index}{last}"


def find_devices(
    kind: str, replicas: int, *, parallel: int = 1, hierarchy: Hierarchy = "FLAT", sysfs: Path | None = None
) -> list[Device]:
    """The devices of this machine to start engines on, one engine each.

    Args:
        kind: "auto", "cpu", "xpu" or "cuda"; "auto" takes GPUs if there are any.
        replicas: Number of engines; 0 means all GPUs, or one share of the CPU.
        parallel: How many GPUs one engine spans.
        hierarchy: Whether each tile of an Intel card is a device (FLAT), or the card (COMPOSITE).
        sysfs: Root of the sys file system; /sys, or $XPOLL_SYSFS, unless given.

    Raises:
        EngineError: there are fewer devices than asked for.
    """
    root = sysfs or sysfs_root()
    if kind == "auto":
        kind = "xpu" if _intel_gpus(root, hierarchy) else "cuda" if _nvidia_gpus(root) else "cpu"
    if kind == "cpu":
        shares = core_shares(replicas or 1, parallel, sysfs)
        name = processor_name()
        return [Device("cpu", i, name, share, parallel) for i, share in enumerate(shares)]
    found = _intel_gpus(root, hierarchy) if kind == "xpu" else _nvidia_gpus(root)
    groups = _groups(found, parallel)
    if len(groups) < max(replicas, 1):
        unusable = "; ".join(problem_of(card) for card in read_cards(root) if card.problem and card.is_discrete)
        raise EngineError(
            f"engine.device = {kind!r}: {max(replicas, 1) * parallel} needed, {len(found)} found"
            + (f" ({unusable})" if unusable and kind == "xpu" else ""),
            mend="xpoll doctor",
        )
    return groups[:replicas] if replicas else groups


def find_intel_gpus() -> list[Device]:
    """The usable Intel GPUs of this machine; empty without any."""
    return _intel_gpus(sysfs_root(), "FLAT")


def problem_of(card: Card) -> str:
    """Why engines cannot run on a card, in one phrase."""
    at = f" on {card.render_node}" if card.problem == "no permission" else ""
    return f"{card.product.name} at {card.pci_address}: {card.problem}{at}"


def left_out(sysfs: Path | None = None) -> list[str]:
    """The discrete Intel GPUs that cannot be used, each with the reason."""
    return [problem_of(card) for card in read_cards(sysfs) if card.problem and card.is_discrete]


def _groups(found: list[Device], parallel: int) -> list[Device]:
    """Groups of `parallel` GPUs of one product; GPUs without a full group are left out."""
    if parallel == 1:
        return found
    groups = []
    for _, same in groupby(found, key=lambda device: device.name):
        gpus = list(same)
        for i in range(0, len(gpus) - parallel + 1, parallel):
            numbers = tuple(gpu.index for gpu in gpus[i : i + parallel])
            in_a_row = numbers == tuple(range(numbers[0], numbers[0] + parallel))
            groups.append(replace(gpus[i], parallel=parallel, numbers=() if in_a_row else numbers))
    return groups


def _intel_gpus(sysfs: Path, hierarchy: Hierarchy) -> list[Device]:
    devices = []
    for place in given(places(read_cards(sysfs), hierarchy)):
        card = place.card
        if card.is_discrete:
            share = 1 if place.tile is None else card.tiles
            memory_gib = None if card.memory_gib is None else card.memory_gib / share
            devices.append(
                Device(
                    "xpu",
                    place.number,
                    card.product.name,
                    memory_gib=memory_gib,
                    pci_address=card.pci_address,
                    hierarchy=hierarchy,
                )
            )
    return devices


def _nvidia_gpus(sysfs: Path) -> list[Device]:
    proc = Path("/proc/driver/nvidia/gpus") if sysfs == Path("/sys") else sysfs.parent / "proc/driver/nvidia/gpus"
    return [Device("cuda", i, "NVIDIA GPU") for i, _ in enumerate(sorted(proc.glob("*")))]


def pinning(device: Device) -> dict[str, str]:
    """Environment variables that pin an engine to a device; to be set before its process starts.

    Level Zero reads the mask once, so narrowing it later has no effect.
    """
    if device.kind == "cpu":
        size = len(device.cores) // device.parallel
        parts = [device.cores[i * size : (i + 1) * size] for i in range(device.parallel)]
        return {
            # Without it vLLM reserves one core, which halves the rate on two cores.
            "VLLM_CPU_OMP_THREADS_BIND": "|".join(",".join(map(str, part)) for part in parts),
            "OMP_NUM_THREADS": str(max(size, 1)),  # a simulated device may have no core
            "VLLM_CPU_KVCACHE_SPACE": os.environ.get("VLLM_CPU_KVCACHE_SPACE", str(kv_cache_gib(memory_bytes()))),
            "CUDA_VISIBLE_DEVICES": "",
        }
    if device.kind == "cuda":
        return {"CUDA_VISIBLE_DEVICES": device.mask, "RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES": "1"}
    product = product_named(device.name)
    exchange = IPC_EXCHANGE.get(product.family if product else "", "pidfd")
    return {
        "ZE_AFFINITY_MASK": device.mask,
        "ZE_FLAT_DEVICE_HIERARCHY": device.hierarchy,
        "ZE_ENABLE_PCI_ID_DEVICE_ORDER": "1",
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
        # Both or neither: Ray 2.58 with one of them re-indexes the selector and picks the wrong card. Older
        # versions know only the first, newer ones only the second.
        "RAY_EXPERIMENTAL_NOSET_ONEAPI_DEVICE_SELECTOR": "1",
        "RAY_EXPERIMENTAL_NOSET_ZE_AFFINITY_MASK": "1",
        # Max cards report free memory only to processes that set this (ALCF, known issues of PyTorch).
        "ZES_ENABLE_SYSMAN": "1",
        **{name: os.environ.get(name, value) for name, value in {**CCL, "CCL_ZE_IPC_EXCHANGE": exchange}.items()},
    }


def kv_cache_gib(memory: int) -> int:
    """KV cache of a CPU engine in GiB: an eighth of `memory` (in bytes), at least 1 and at most 16."""
    return max(1, min(16, memory // 2**33))


def describe(devices: Sequence[Device]) -> str:
    """The devices in one phrase, e.g. "2 x cpu (AMD EPYC)"."""
    hosts = {device.host for device in devices}
    where = f" on {len(hosts)} nodes" if len(hosts) > 1 else ""
    kinds = Counter((device.kind, device.name) for device in devices)
    return " and ".join(f"{number} x {kind} ({name})" for (kind, name), number in kinds.items()) + where
