"""Divides the cores of this machine into shares: by NUMA node, then by physical core."""

import os
from collections import defaultdict
from pathlib import Path

from xpoll.core.errors import EngineError
from xpoll.core.machine.cgroups import core_limit
from xpoll.engine.devices.intel_cards import read_text, sysfs_root


def core_shares(number: int, parts: int, sysfs: Path | None = None) -> list[tuple[int, ...]]:
    """`number` equal shares of the usable cores, each of a multiple of `parts` cores.

    Where the shares can be divided evenly over the NUMA nodes, none of them spans two.

    Args:
        number: Number of shares.
        parts: Equal parts per share, for tensor parallelism.
        sysfs: Root of the sys file system; /sys, or $XPOLL_SYSFS, unless given.

    Raises:
        EngineError: there are fewer cores than shares times parts.
    """
    nodes = cores_by_node(sysfs)
    total = sum(map(len, nodes))
    if number * parts > total:
        raise EngineError(
            f"engine.replicas x engine.tensor_parallel = {number * parts} is more than the {total} cores",
            mend="set them lower",
        )
    each, left = divmod(number, len(nodes))
    if left == 0 and all(len(node) >= each * parts for node in nodes):
        return [share for node in nodes for share in _split(node, each, parts)]
    return _split([core for node in nodes for core in node], number, parts)


def _split(cores: list[int], number: int, parts: int) -> list[tuple[int, ...]]:
    size = len(cores) // (number * parts) * parts
    return [tuple(cores[i * size : (i + 1) * size]) for i in range(number)]


def cores_by_node(sysfs: Path | None = None) -> list[list[int]]:
    """The cores that this process may use, one list per NUMA node, with the hyper-threads of a core adjacent.

    Where a control group grants less time than these cores have, there are as many as it has time for: an engine with a
    thread on each core would else be stopped for most of each period.
    """
    root = sysfs or sysfs_root()
    usable = sorted(os.sched_getaffinity(0), key=lambda core: (_first_sibling(root, core) != core, core))[
        : core_limit()
    ]
    nodes: dict[int, list[int]] = defaultdict(list)
    listed = {
        core: int(node.name.removeprefix("node"))
        for node in root.glob("devices/system/node/node[0-9]*")
        for core in cpu_list(read_text(node / "cpulist"))
    }
    for core in usable:
        nodes[listed.get(core, 0)].append(core)
    return [sorted(nodes[node], key=lambda core: (_first_sibling(root, core), core)) for node in sorted(nodes)]


def _first_sibling(root: Path, core: int) -> int:
    siblings = cpu_list(read_text(root / f"devices/system/cpu/cpu{core}/topology/thread_siblings_list"))
    return min(siblings, default=core)


def cpu_list(text: str) -> list[int]:
    """Parses the kernel's list notation: "0-3,8" is 0, 1, 2, 3, 8."""
    numbers: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers
