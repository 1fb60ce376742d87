"""What `xpoll doctor` says of Intel GPUs: cards, permissions, the loader, the environment, power counters.

Reads files and the environment only; imports no library and starts nothing.
"""

import grp
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from xpoll.engine.devices.affinity import given, places
from xpoll.engine.devices.intel_cards import Card, read_cards, sysfs_root
from xpoll.scripts.doctor.finding import Finding, Level
from xpoll.scripts.doctor.libraries import DRIVER, LOADER, driver_build, library, path_folders

CONTAINER = "docker run --device /dev/dri -v /dev/dri/by-path:/dev/dri/by-path --ipc=host --group-add {group} ..."


def intel_findings(environment: Mapping[str, str] = os.environ) -> list[Finding]:
    """Findings on Intel GPUs; none where the machine has no discrete one."""
    root = sysfs_root()
    cards = read_cards(root)
    if not any(card.is_discrete for card in cards):
        return []
    found = [_card(card, cards, root) for card in cards]
    if any(card.is_discrete and not card.problem for card in cards):
        found += [
            *_libraries(root, environment),
            *_foreign_loader(environment),
            *_selectors(cards, environment),
            _power(cards, root),
        ]
    return found


def _card(card: Card, cards: list[Card], root: Path) -> Finding:
    subject = f"gpu {card.pci_address}"
    if card.problem:
        why, mend = _mend(card, root)
        at = f": {card.render_node}" if card.problem == "no permission" else ""
        return Finding(subject, "warning", f"{card.product.name}: {card.problem}{at}", why, mend)
    numbers = [str(place.number) for place in places(cards, "FLAT") if place.card is card]
    memory = "memory unknown" if card.memory_gib is None else f"{card.memory_gib:g} GiB ({card.memory_source})"
    numa = "" if card.numa_node is None else f", NUMA node {card.numa_node}"
    tiles = f", {card.tiles} tiles" if card.tiles > 1 else ""
    by_address = "" if all(each.is_discrete for each in cards) else " with ZE_ENABLE_PCI_ID_DEVICE_ORDER=1"
    mask = f", ZE_AFFINITY_MASK {','.join(numbers)}{by_address}" if card.is_discrete else ", runs no engine"
    about = f"{card.driver} {card.driver_version}, {memory}{tiles}{numa}, {card.render_node}{mask}"
    return Finding(subject, "ok", f"{card.product.name}: {about}")


def _mend(card: Card, root: Path) -> tuple[str, str]:
    """Why a card's problem matters, and what to type."""
    module = card.product.kernel_module
    match card.problem:
        case "no permission":
            group = _group(root.parent / card.render_node.lstrip("/"))
            return "engines open this file", f"sudo usermod -aG {group} $USER, then log in again"
        case "no render node":
            node = root.parent / "dev/dri"
            group = next((_group(path) for path in sorted(node.glob("renderD*"))), "render")
            return "engines open /dev/dri/renderD*; a container has only those it was given", CONTAINER.format(
                group=group
            )
        case "no driver":
            return "the kernel has bound no driver to it", f"sudo modprobe {module}; sudo dmesg | grep -i {module}"
        case _:
            reset = f"echo 1 | sudo tee /sys/bus/pci/devices/{card.pci_address}/reset"
            return "it no longer answers on the bus", f"sudo dmesg | tail; {reset}; if that does not help, reboot"


def _group(file: Path) -> str:
    try:
        name = grp.getgrgid(file.stat().st_gid).gr_name
    except (OSError, KeyError):
        return "render"
    return "render" if name == "root" else name


def _libraries(root: Path, environment: Mapping[str, str]) -> list[Finding]:
    packages = {LOADER: "libze1", DRIVER: "libze-intel-gpu1"}
    why = {LOADER: "PyTorch and vLLM reach the GPU through it", DRIVER: "without it the loader finds no GPU"}
    found = []
    for name, package in packages.items():
        file = library(name, root, environment)
        subject = "Level Zero loader" if name == LOADER else "Level Zero driver"
        if file is None:
            mend = f"sudo apt install {package} (from Intel's graphics repository), or source oneAPI's setvars.sh"
            found.append(Finding(subject, "warning", f"{name} is not there", why[name], mend))
        else:
            build = driver_build(root, environment) if name == DRIVER else None
            found.append(Finding(subject, "ok", f"{file}, build {build}" if build else str(file)))
    return found


def _foreign_loader(environment: Mapping[str, str]) -> list[Finding]:
    """oneAPI's own libraries before those that PyTorch came with: "undefined symbol urDeviceWaitExp" and the like."""
    own = Path(sys.prefix, "lib")
    for folder in path_folders(environment):
        if folder.resolve() == own.resolve():
            break
        if loaders := sorted(folder.glob("libur_loader.so*")):
            why = "PyTorch brings its own SYCL runtime, and another's loader before it breaks the import"
            mend = f"export LD_LIBRARY_PATH={own}:$LD_LIBRARY_PATH"
            return [Finding("oneAPI", "warning", f"{loaders[0]} comes first on LD_LIBRARY_PATH", why, mend)]
    return [Finding("oneAPI", "ok", "no foreign SYCL runtime on LD_LIBRARY_PATH")]


def _selectors(cards: list[Card], environment: Mapping[str, str]) -> list[Finding]:
    found = []
    if mask := environment.get("ZE_AFFINITY_MASK"):
        shown = given(places(cards, "FLAT"), environment)
        numbers = ", ".join(str(place.number) for place in shown) or "none"
        level: Level = "ok" if shown else "warning"
        why = "" if shown else "it names no device of this machine, so no engine has one"
        found.append(
            Finding(
                "ZE_AFFINITY_MASK", level, f"{mask}: devices {numbers}", why, "" if shown else "unset ZE_AFFINITY_MASK"
            )
        )
    if selector := environment.get("ONEAPI_DEVICE_SELECTOR"):
        why = "xpoll starts Ray and engines without it; `ray start` and `vllm serve` in this shell need it unset"
        found.append(Finding("ONEAPI_DEVICE_SELECTOR", "ok", selector, why))
    return found


def _power(cards: list[Card], root: Path) -> Finding:
    """Where joules can be read from."""
    counters = [card.energy_counter for card in cards if card.is_discrete and not card.problem]
    readable = [counter for counter in counters if counter and os.access(counter, os.R_OK)]
    rapl = root / "class/powercap/intel-rapl:0/energy_uj"
    sources = [f"hwmon of {len(readable)} of {len(counters)} GPUs"] if readable else []
    sources += ["xpu-smi"] if shutil.which("xpu-smi") else []
    sources += ["RAPL"] if os.access(rapl, os.R_OK) else []
    if readable or "xpu-smi" in sources:
        return Finding("power", "ok", ", ".join(sources))
    hidden = next((counter for counter in counters if counter), None)
    mend = f"sudo chmod a+r {hidden}" if hidden else "install xpu-smi 1.3 (version 2 lists Arc Pro only)"
    what = "not readable" if hidden else "the driver has no energy counter, and xpu-smi is not there"
    return Finding(
        "power", "warning", f"{what} ({', '.join(sources) or 'no other source'})", "no joules are reported", mend
    )
