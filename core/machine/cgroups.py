"""What the control groups (v1 and v2) of this process leave it: a container's or a batch job's memory and cores.

A limit of any group above the process's own holds too, so the least counts.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path

UNLIMITED_FROM = 2**60
"""Version 1 says "no limit" as the largest number of pages that it can count."""


def memory_limit_bytes(root: Path | None = None) -> int | None:
    """Memory that this process and those beside it may use together, in bytes; None without a limit.

    Args:
        root: Root of the file system; /, unless given.
    """
    limits = [
        number
        for folder in _groups("memory", root)
        for name in ("memory.max", "memory.limit_in_bytes")
        if (number := _number(folder / name)) is not None
    ]
    return min((limit for limit in limits if limit < UNLIMITED_FROM), default=None)


def core_limit(root: Path | None = None) -> int | None:
    """How many cores' time this process may use, rounded up; None without a limit. Which cores, it does not say.

    Args:
        root: Root of the file system.
    """
    limits = []
    for folder in _groups("cpu", root):
        quota, _, period = _text(folder / "cpu.max").partition(" ")
        if not quota:
            quota, period = _text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit() and int(period):
            limits.append(max(1, math.ceil(int(quota) / int(period))))
    return min(limits, default=None)


def memory_kills(root: Path | None = None) -> int:
    """How many processes of this control group the kernel has killed for the group's memory; 0 where it does not say.

    Args:
        root: Root of the file system.
    """
    for folder in _groups("memory", root):  # the innermost counts what is killed below any limit above it
        for name in ("memory.events", "memory.oom_control"):
            for line in _text(folder / name).splitlines():
                key, _, number = line.partition(" ")
                if key == "oom_kill" and number.isdigit():
                    return int(number)
    return 0


def usable_cores(root: Path | None = None) -> int:
    """How many cores this process can compute on at a time: those it may run on, or fewer by its control group.

    Args:
        root: Root of the file system.
    """
    cores = len(os.sched_getaffinity(0))
    return min(cores, core_limit(root) or cores)


def _groups(controller: str, root: Path | None) -> Iterator[Path]:
    """Folders of the control groups that hold this process, from its own to the outermost.

    In a container the path that the kernel names may be that of the host; what is mounted then is the group itself.
    """
    base = root or Path("/")
    for line in _text(base / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":
            mounted = base / "sys/fs/cgroup"
        elif controller in controllers.split(","):
            mounted = base / "sys/fs/cgroup" / controller
        else:
            continue
        inner = Path(path.lstrip("/"))
        for each in (inner, *inner.parents):
            if ".." not in each.parts and (mounted / each).is_dir():
                yield mounted / each


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
