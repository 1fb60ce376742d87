"""Machines that are not there: the files in which a kernel shows Intel GPUs, as each driver lays them out.

Point XPOLL_SYSFS at what `build` returns. Layouts: compute-runtime's sysman (out-of-tree xe: device/tileN/
physical_vram_size_bytes; out-of-tree i915: cardN/lmem_total_bytes and cardN/gt/gtN), mainline i915 and xe have
neither (memory_gib 0); hwmon as in drivers/gpu/drm/{i915,xe}.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Driver = Literal["i915-lts", "i915", "xe", ""]

# Someone without any rights: root may open every file, so a test of permissions gives up being root.
NOBODY = {"user": 65534, "group": 65534, "extra_groups": []} if os.getuid() == 0 else {}


@dataclass(frozen=True)
class FakeCard:
    """One card. `driver` "i915-lts" is Intel's out-of-tree driver for Data Center GPUs."""

    device_id: str
    pci_address: str
    driver: Driver = "i915-lts"
    tiles: int = 1
    memory_gib: int = 0
    numa_node: int = 0
    pci_class: str = "0x038000"
    render_mode: int = 0o666
    has_render_node: bool = True
    answers: bool = True
    vendor: str = "0x8086"


def max_1100(bus: str, *, numa_node: int = 0, answers: bool = True, render_mode: int = 0o666) -> FakeCard:
    address = f"0000:{bus}:00.0"
    return FakeCard("0x0bda", address, memory_gib=48, numa_node=numa_node, answers=answers, render_mode=render_mode)


def max_1550(bus: str, *, numa_node: int = 0) -> FakeCard:
    return FakeCard("0x0bd5", f"0000:{bus}:00.0", tiles=2, memory_gib=128, numa_node=numa_node)


INTEGRATED = FakeCard("0x46a6", "0000:00:02.0", driver="i915", numa_node=-1, pci_class="0x030000")
ARC_B60 = FakeCard("0xe211", "0000:03:00.0", driver="xe", numa_node=-1, pci_class="0x030000")
ARC_B580 = FakeCard("0xe20b", "0000:07:00.0", driver="xe", numa_node=-1, pci_class="0x030000")
ARC_B70 = FakeCard("0xe223", "0000:0d:00.0", driver="xe", numa_node=-1, pci_class="0x030000")
ARC_A770 = FakeCard("0x56a0", "0000:0a:00.0", driver="i915", numa_node=-1, pci_class="0x030000")

MACHINES: dict[str, tuple[FakeCard, ...]] = {
    "max-1100": (max_1100("3b"),),
    "max-1100-x4": (max_1100("3a"), max_1100("4d"), max_1100("b5", numa_node=1), max_1100("c8", numa_node=1)),
    "max-1550-x8": tuple(
        max_1550(bus, numa_node=i // 4) for i, bus in enumerate(("18", "2f", "42", "58", "98", "af", "c2", "d8"))
    ),
    "arc-and-integrated": (INTEGRATED, ARC_B60, ARC_B580, ARC_A770),
    "arc-b70": (INTEGRATED, ARC_B70),
    "no-permission": (max_1100("3b", render_mode=0o600),),
    "one-gone": (max_1100("3a"), max_1100("4d", answers=False)),
    "no-driver": (FakeCard("0x0bda", "0000:3b:00.0", driver=""),),
    "container-with-one-of-two": (
        FakeCard("0x0bda", "0000:3a:00.0", memory_gib=48, has_render_node=False),
        max_1100("4d"),
    ),
}


def build(root: Path, cards: tuple[FakeCard, ...] | str, *, kernel: str = "5.14.21-lts") -> Path:
    """Lays out a machine below `root`; returns its /sys. Card numbers run against PCI addresses, as they may."""
    chosen = MACHINES[cards] if isinstance(cards, str) else cards
    sysfs = root / "sys"
    for folder in ("sys/class/drm", "sys/bus/pci/devices", "sys/bus/pci/drivers", "dev/dri", "proc/sys/kernel"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "proc/sys/kernel/osrelease").write_text(f"{kernel}\n")
    for i, card in enumerate(chosen):
        _lay_out(root, card, number=len(chosen) - 1 - i)
    return sysfs


def _lay_out(root: Path, card: FakeCard, *, number: int) -> None:
    sysfs = root / "sys"
    device = sysfs / "devices" / f"pci{card.pci_address[:7]}" / card.pci_address
    device.mkdir(parents=True)
    for name, text in {
        "vendor": card.vendor,
        "device": card.device_id,
        "class": card.pci_class,
        "numa_node": str(card.numa_node),
    }.items():
        (device / name).write_text(f"{text}\n")
    ids = bytes.fromhex(card.vendor[2:])[::-1] + bytes.fromhex(card.device_id[2:])[::-1]
    (device / "config").write_bytes((ids if card.answers else b"\xff" * 4) + b"\x00" * 60)
    (sysfs / "bus/pci/devices" / card.pci_address).symlink_to(device)
    if not card.driver:
        return
    driver = card.driver.removesuffix("-lts")
    (sysfs / "bus/pci/drivers" / driver).mkdir(exist_ok=True)
    (device / "driver").symlink_to(sysfs / "bus/pci/drivers" / driver)
    if card.driver == "i915-lts":
        (sysfs / "module/i915").mkdir(parents=True, exist_ok=True)
        (sysfs / "module/i915/version").write_text("1.25.2.23.250224\n")
    drm = device / "drm" / f"card{number}"
    drm.mkdir(parents=True)
    (drm / "device").symlink_to(device)
    (sysfs / "class/drm" / drm.name).symlink_to(drm)
    (sysfs / "class/drm" / f"{drm.name}-DP-1").mkdir()
    render = f"renderD{128 + number}"
    (device / "drm" / render).mkdir()
    if card.has_render_node:
        (root / "dev/dri" / render).touch()
        (root / "dev/dri" / render).chmod(card.render_mode)
    _driver_files(device, drm, card)


def _driver_files(device: Path, drm: Path, card: FakeCard) -> None:
    hwmon = device / "hwmon/hwmon3"
    hwmon.mkdir(parents=True)
    (hwmon / "name").write_text("xe\n" if card.driver == "xe" else "i915\n")
    (hwmon / "energy1_input").write_text("123456789\n")
    tile_bytes = card.memory_gib * 2**30 // card.tiles
    for tile in range(card.tiles):
        if card.driver == "xe":
            (device / f"tile{tile}").mkdir()
            if tile_bytes:
                (device / f"tile{tile}/physical_vram_size_bytes").write_text(f"{tile_bytes}\n")
        else:
            (drm / f"gt/gt{tile}").mkdir(parents=True)
    if card.driver == "i915-lts":
        (drm / "lmem_total_bytes").write_text(f"{card.memory_gib * 2**30}\n")


def no_longer_answers(sysfs: Path, pci_address: str) -> None:
    """The card falls off the bus: what the kernel knows of it stays, and it reads as all ones."""
    config = sysfs / "bus/pci/devices" / pci_address / "config"
    config.write_bytes(b"\xff" * 64)


def is_removed(sysfs: Path, pci_address: str) -> None:
    """The kernel has taken the device away; a link to it in /sys/class/drm is left for a moment."""
    device = (sysfs / "bus/pci/devices" / pci_address).resolve()
    (sysfs / "bus/pci/devices" / pci_address).unlink()
    for file in sorted(device.rglob("*"), reverse=True):
        file.unlink() if file.is_symlink() or file.is_file() else file.rmdir()
    device.rmdir()
