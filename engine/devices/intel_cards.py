"""The Intel GPUs of this machine as the kernel shows them: no library, no driver call, no root.

Reads /sys/class/drm, /sys/bus/pci and the permissions of /dev/dri. XPOLL_SYSFS names another root, with /dev
beside it; tests use it to show other machines. The files differ between the xe driver, mainline i915 and
Intel's out-of-tree i915; a value whose file is missing is reported as unknown. None of this has been run on
an Intel GPU.
"""

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from xpoll.core.machine.hwmon import energy_inputs
from xpoll.engine.devices.intel_products import INTEL, Product, product_of

Problem = Literal["", "gone", "no driver", "no render node", "no permission"]

DISPLAY_CLASS = "0x03"  # PCI class of display controllers; 0x0380 for Data Center GPU Max, 0x0300 for Arc
GONE = b"\xff\xff\xff\xff"  # the first bytes of a PCI device that no longer answers


@dataclass(frozen=True, slots=True)
class Card:
    """One Intel GPU.

    Attributes:
        pci_address: Its PCI address, e.g. "0000:3b:00.0".
        device_id: Its PCI device id, e.g. "0x0bda"; empty for a card that is gone.
        product: The product of that id.
        driver: "i915" or "xe"; empty where no driver is bound to the card.
        driver_version: Version of an out-of-tree driver; otherwise that of the kernel.
        render_node: Device file that engines open; empty without one.
        problem: Why no engine can run on it; empty if one can.
        numa_node: NUMA node that it is attached to; None where that is not known.
        tiles: Number of devices in FLAT mode.
        memory_gib: Memory of the whole card in GiB, the smaller one where driver and table differ: the driver counts
            what is built in, the table what a program can have. None where neither has it.
        memory_source: "driver" or "table"; empty without a memory size.
        energy_counter: File of its energy counter in uJ, or of its first tile's; empty where the driver has none.
    """

    pci_address: str
    device_id: str
    product: Product
    driver: str
    driver_version: str
    render_node: str
    problem: Problem
    numa_node: int | None
    tiles: int
    memory_gib: float | None
    memory_source: Literal["driver", "table", ""]
    energy_counter: str = ""

    @property
    def is_discrete(self) -> bool:
        """Whether engines are meant to run on it."""
        return self.product.family != "integrated"


def sysfs_root() -> Path:
    """/sys, or $XPOLL_SYSFS."""
    return Path(os.environ.get("XPOLL_SYSFS", "/sys"))


def read_cards(sysfs: Path | None = None) -> list[Card]:
    """All Intel GPUs by PCI address, which is Level Zero's order with ZE_ENABLE_PCI_ID_DEVICE_ORDER=1."""
    root = sysfs or sysfs_root()
    drm = {_device_of(card): card for card in sorted(root.glob("class/drm/card*")) if _is_card(card)}
    pci = {_target(device): None for device in root.glob("bus/pci/devices/*") if _is_display(device)}
    found = [_card(root, device, card) for device, card in {**pci, **drm}.items()]
    return sorted((card for card in found if card is not None), key=lambda card: card.pci_address)


def cards_as_json() -> list[dict[str, Any]]:
    """The cards of this machine as plain JSON types, for the environment of a result."""
    return [
        {
            "name": card.product.name,
            "pci_address": card.pci_address,
            "driver": f"{card.driver} {card.driver_version}".strip(),
            "memory_gib": card.memory_gib,
            "tiles": card.tiles,
            "problem": card.problem or None,
        }
        for card in read_cards()
    ]


def _is_card(path: Path) -> bool:
    return re.fullmatch(r"card\d+", path.name) is not None  # others are connectors, e.g. card0-DP-1


def _is_display(device: Path) -> bool:
    return read_text(device / "vendor") == INTEL and read_text(device / "class").startswith(DISPLAY_CLASS)


def _device_of(card: Path) -> Path:
    """The PCI device of a DRM card; for a removed card, the path where it was."""
    return _target(card / "device") if card.exists() else _target(card).parent.parent


def _target(link: Path) -> Path:
    return Path(os.path.realpath(link))


def _card(root: Path, device: Path, drm: Path | None) -> Card | None:
    """The card of a PCI device; None for another vendor's."""
    address, vendor, device_id = device.name, read_text(device / "vendor"), read_text(device / "device").lower()
    if not device.exists():
        return Card(address, "", Product("Intel GPU", "unknown"), "", "", "", "gone", None, 0, None, "")
    if vendor != INTEL:
        return None
    product = product_of(device_id, address)
    driver = _target(device / "driver").name if (device / "driver").exists() else ""
    tiles = _tiles(device, drm, product)
    memory = _memory_gib(device, drm)
    sizes = [size for size in (memory, product.memory_gib) if size is not None]
    node = next((f"/dev/dri/{path.name}" for path in sorted(device.glob("drm/renderD*"))), "")
    numa = read_number(device / "numa_node")
    return Card(
        pci_address=address,
        device_id=device_id,
        product=product,
        driver=driver,
        driver_version=_driver_version(root, driver),
        render_node=node,
        problem=_problem(root, device, driver, node),
        numa_node=numa if numa is not None and numa >= 0 else None,
        tiles=tiles,
        memory_gib=min(sizes, default=None),
        memory_source="" if not sizes else "driver" if min(sizes) == memory else "table",
        energy_counter=next((str(group[0].path) for group in energy_inputs(device)), ""),
    )


def _problem(root: Path, device: Path, driver: str, node: str) -> Problem:
    with suppress(OSError), (device / "config").open("rb") as config:
        if config.read(4) == GONE:
            return "gone"
    if not driver:
        return "no driver"
    file = root.parent / node.lstrip("/")
    if not node or not file.exists():
        return "no render node"
    return "" if os.access(file, os.R_OK | os.W_OK) else "no permission"


def _tiles(device: Path, drm: Path | None, product: Product) -> int:
    """Number of tiles as the driver shows them; only Max has several, elsewhere a second `gt` is the media engine."""
    if product.family != "max":
        return 1
    shown = len(list(device.glob("tile[0-9]*"))) or (len(list(drm.glob("gt/gt[0-9]*"))) if drm else 0)
    return shown or product.tiles


def _memory_gib(device: Path, drm: Path | None) -> float | None:
    """Local memory in GiB: xe reports it per tile, out-of-tree i915 per card or per tile, mainline i915 not at all."""
    parts = [read_number(path) for path in device.glob("tile[0-9]*/physical_vram_size_bytes")]
    if drm is not None:
        parts = parts or [read_number(drm / "lmem_total_bytes")]
        parts = parts if any(parts) else [read_number(path) for path in drm.glob("gt/gt[0-9]*/addr_range")]
    total = sum(part for part in parts if part)
    return total / 2**30 if total else None


def _driver_version(root: Path, driver: str) -> str:
    if not driver:
        return ""
    own = read_text(root / "module" / driver / "version")
    return own or f"of Linux {read_text(root.parent / 'proc/sys/kernel/osrelease') or 'unknown'}"


def read_text(path: Path) -> str:
    """A small sysfs file without its line end; empty where it cannot be read."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def read_number(path: Path) -> int | None:
    """The number in a small sysfs file, decimal or 0x...; None without one."""
    try:
        return int(read_text(path), 0)
    except ValueError:
        return None
