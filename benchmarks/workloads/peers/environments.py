"""Environments of peers: one per set of pinned requirements, in xpoll's cache folder, made once.

An environment counts once its file `ready` is there, which holds the versions that pip installed; one that was
interrupted is made anew.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from xpoll.benchmarks.workloads.peers.arms import COMMON, Peer
from xpoll.core.errors import EngineError
from xpoll.core.files import write_text
from xpoll.core.packaged_models import cache_folder
from xpoll.core.progress import say

LEFT_OUT = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "OMP_NUM_THREADS")
"""Variables of xpoll's own environment that another one must not have."""


def interpreter_of(peer: Peer) -> Path:
    """The Python of a peer's environment, which is made where it is not there.

    Raises:
        EngineError: its packages cannot be installed; one line says why.
    """
    if peer.requirements is None:
        return Path(sys.executable)
    folder = environment_folder(peer.requirements)
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        say(f"{peer.name}: installing {peer.requirements.name} into {folder}")
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        _run([sys.executable, "-m", "venv", str(folder)], peer)
        _run([str(python), "-m", "pip", "install", "--quiet", "-r", str(peer.requirements)], peer)
        frozen = _run([str(python), "-m", "pip", "freeze"], peer)
        write_text(folder / "ready", frozen)
    return python


def environment_folder(requirements: Path) -> Path:
    """Folder of the environment of some requirements for this Python; it need not exist."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    pinned = "\n".join(pins(requirements))
    key = hashlib.sha256(f"{version}\n{pinned}".encode()).hexdigest()[:16]
    return cache_folder() / "peers" / f"{requirements.parent.name}-{key}"


def pins(requirements: Path) -> list[str]:
    """Lines of a requirements file that name a package."""
    lines = (line.partition("#")[0].strip() for line in requirements.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def version_of(peer: Peer) -> str:
    """The version of a peer's package: the pinned one, or the one in xpoll's environment; empty where unknown."""
    if peer.requirements is not None:
        wanted = re.compile(rf"{re.escape(peer.package)}==(\S+)", re.I)
        found = (wanted.match(pin) for pin in pins(peer.requirements))
        return next((match[1] for match in found if match), "")
    try:
        return metadata.version(peer.package)
    except metadata.PackageNotFoundError:
        return ""


def variables_of(peer: Peer, further: dict[str, str]) -> dict[str, str]:
    """The environment variables of a peer's process.

    Args:
        peer: The peer.
        further: What is set on top.
    """
    found = {name: value for name, value in os.environ.items() if name not in LEFT_OUT or peer.requirements is None}
    found["PYTHONPATH"] = os.pathsep.join(filter(None, [str(COMMON), found.get("PYTHONPATH", "")]))
    return {**found, "PYTHONUNBUFFERED": "1", **further}


def _run(command: list[str], peer: Peer) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        why = next((line for line in reversed(lines) if "ERROR" in line), lines[-1] if lines else "no output")
        raise EngineError(f"{peer.name} cannot be installed: {why.strip()}", mend="see pip's own output")
    return done.stdout
