"""Drivers of GPUs, read from a tree of files as the kernel has them."""

import platform
from pathlib import Path

from xpoll.core.machine.environment import drivers


def test_a_drivers_own_version_is_told_or_else_the_kernels(tmp_path: Path) -> None:
    for name in ("i915", "nvidia", "snd"):
        (tmp_path / "module" / name).mkdir(parents=True)
    (tmp_path / "module/nvidia/version").write_text("575.57.08\n")
    assert drivers(tmp_path) == {"i915": platform.release(), "nvidia": "575.57.08"}
    assert drivers(tmp_path / "nothing") == {}
