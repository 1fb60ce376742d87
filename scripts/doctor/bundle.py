"""What `xpoll doctor --bundle` writes: findings, cards, versions and settings, for a report to somebody else.

Holds no text, answer, log or config of a job. Tokens, the names of user, machine and home folder, and addresses are
struck out of every word.
"""

import getpass
import os
import platform
import re
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from xpoll.core.files import write_json
from xpoll.core.machine.environment import PACKAGES, capture, package_version
from xpoll.core.secrets import STRUCK, struck
from xpoll.engine.devices.intel_cards import Card, read_cards, sysfs_root
from xpoll.scripts.doctor.finding import Finding
from xpoll.scripts.doctor.libraries import DRIVER, LOADER, driver_build, library
from xpoll.scripts.doctor.stack import vllm_build

MORE_PACKAGES = ("xpoll", "triton", "triton-xpu", "dpctl", "intel-sycl-rt", "oneccl", "openvino", "openvino-genai")
PREFIXES = ("ZE_", "ZES_", "ZEX_", "ONEAPI_", "SYCL_", "UR_", "CCL_", "FI_", "OMP_", "KMP_", "TORCHINDUCTOR_", "NEO")
NAMES = (
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO",
    "RAY_EXPERIMENTAL_NOSET_ONEAPI_DEVICE_SELECTOR",
    "RAY_EXPERIMENTAL_NOSET_ZE_AFFINITY_MASK",
    "VLLM_TARGET_DEVICE",
    "VLLM_WORKER_MULTIPROC_METHOD",
    "XPOLL_SYSFS",
)
_ADDRESS = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.]*\.\d)|\b(?:[0-9a-f]{1,4}:){4,7}[0-9a-f]{1,4}\b", re.I)
_HOME = re.compile(r"(/(?:home|Users|lus/[\w.-]+/projects|scratch)/)[^/\s:,'\"]+")


def write_bundle(file: Path, findings: Sequence[Finding], environment: Mapping[str, str] = os.environ) -> None:
    """Writes the bundle, a JSON file.

    Args:
        file: Where to; one that is there is replaced.
        findings: What `xpoll doctor` found.
        environment: Environment variables.

    Raises:
        RunFolderError: the file cannot be written.
    """
    root = sysfs_root()
    kept = {name: value for name, value in sorted(environment.items()) if name.startswith(PREFIXES) or name in NAMES}
    bundle = {
        "schema_version": 1,
        "findings": [asdict(finding) for finding in findings],
        "machine": {**_machine(), "operating_system": _operating_system(root)},
        "cards": [_card(card) for card in read_cards(root)],
        "level_zero": {
            "loader": _named(library(LOADER, root, environment)),
            "driver": _named(library(DRIVER, root, environment)),
            "driver_build": driver_build(root, environment),
        },
        "vllm_build": vllm_build(package_version),
        "packages": {name: version for name in (*PACKAGES, *MORE_PACKAGES) if (version := package_version(name))},
        "environment": kept,
    }
    write_json(file, _anonymous(bundle, _names(environment)))


def _machine() -> dict[str, Any]:
    """As for a result, without what is told elsewhere."""
    told = capture()
    return {name: told[name] for name in ("python", "processor", "cores", "memory_gib", "drivers")} | {
        "kernel": platform.release(),
        "architecture": platform.machine(),
    }


def _operating_system(root: Path) -> str:
    with suppress(OSError):
        lines = (root.parent / "etc/os-release").read_text(encoding="utf-8").splitlines()
        return next((line.partition("=")[2].strip('"') for line in lines if line.startswith("PRETTY_NAME=")), "")
    return ""


def _card(card: Card) -> dict[str, Any]:
    return {**asdict(card), "energy_counter": bool(card.energy_counter), "product": card.product.name}


def _named(file: Path | None) -> str | None:
    return str(file.resolve()) if file else None


def _names(environment: Mapping[str, str]) -> list[tuple[str, str]]:
    """What is private to this user and machine, and what stands in its place; the longest first."""
    host = socket.gethostname()
    found = {host: STRUCK, host.partition(".")[0]: STRUCK}
    with suppress(KeyError, OSError):
        found[getpass.getuser()] = STRUCK
    for name in ("USER", "LOGNAME", "SUDO_USER", "HOSTNAME"):
        found[environment.get(name, "")] = STRUCK
    for name in ("", "localhost", "root"):
        found.pop(name, None)
    with suppress(RuntimeError):
        found[str(Path.home())] = "~"
    found[environment.get("HOME") or "/root"] = "~"
    with suppress(OSError):
        found[str(Path.cwd())] = "."
    return sorted(found.items(), key=lambda pair: -len(pair[0]))


def _anonymous(value: Any, names: Sequence[tuple[str, str]]) -> Any:
    """The value with every string in it rid of secrets, names and addresses."""
    if isinstance(value, dict):
        return {key: _anonymous(each, names) for key, each in value.items()}
    if isinstance(value, list):
        return [_anonymous(each, names) for each in value]
    if not isinstance(value, str):
        return value
    text = struck(value)
    for name, instead in names:
        text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", instead, text, flags=re.IGNORECASE)
    return _ADDRESS.sub(STRUCK, _HOME.sub(rf"\g<1>{STRUCK}", text))
