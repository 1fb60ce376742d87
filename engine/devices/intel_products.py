"""Table of Intel GPUs by PCI device id: name, tiles, memory.

Names and ids: compute-runtime, shared/source/dll/devices/devices_base.inl (2026). Tiles: the FLAT mode of
Data Center GPU Max shows each of a card's stacks as a device; every other card is one. Memory: as the runtime shows it,
which on Battlemage is 5 % less than what is sold; Linux's own xe driver reports no size, so the table decides there.
"""

from dataclasses import dataclass
from typing import Literal

INTEL = "0x8086"

Family = Literal["max", "flex", "arc-a", "arc-b", "crescent-island", "integrated", "unknown"]


@dataclass(frozen=True, slots=True)
class Product:
    """A product.

    Attributes:
        name: Its name without trade marks.
        family: Decides how engines run on it; "unknown" is a discrete card that is not in the table.
        tiles: Number of devices in FLAT mode.
        memory_gib: Memory of the whole card in GiB that a program can have; None where no source was read.
        roofline: Name in `engine.planning.rooflines` of one tile's peaks; empty where none are known.
    """

    name: str
    family: Family
    tiles: int = 1
    memory_gib: float | None = None
    roofline: str = ""

    @property
    def computes_bf16(self) -> bool:
        """False for Alchemist: vLLM's XPU platform refuses bf16 on the A770 (vllm/platforms/xpu.py)."""
        return self.family not in ("flex", "arc-a")

    @property
    def has_xe2_attention(self) -> bool:
        """False for Alchemist: vllm-xpu-kernels compiles attention for Max, Battlemage and later only."""
        return self.family not in ("flex", "arc-a")

    @property
    def takes_graphs(self) -> bool:
        """False for Max, where no XPU graph was ever seen; elsewhere vLLM has them on by default."""
        return self.family != "max"

    @property
    def kernel_module(self) -> str:
        """The kernel driver that is usual for it: "i915" or "xe"."""
        return "i915" if self.family in ("max", "flex", "arc-a") else "xe"


def _as_shown(sold_gb: float) -> float:
    """Memory of a Battlemage card whose runtime's figure was not seen: the share that B60 and B70 show."""
    return round(sold_gb * 30.30 / 32, 2)


_MAX_1550 = Product("Intel Data Center GPU Max 1550", "max", tiles=2, memory_gib=128, roofline="max-1550-tile")
_MAX_1350 = Product("Intel Data Center GPU Max 1350", "max", tiles=2)
_MAX_1100 = Product("Intel Data Center GPU Max 1100", "max", memory_gib=48, roofline="max-1100")
_CRESCENT_ISLAND = Product("Intel Crescent Island", "crescent-island")

PRODUCTS = {
    "0x0b69": Product("Intel Data Center GPU Max 1450", "max", tiles=2),
    "0x0b6e": Product("Intel Data Center GPU Max 1100C", "max"),
    "0x0bd4": Product("Intel Data Center GPU Max 1550VG", "max", tiles=2),
    "0x0bd5": _MAX_1550,
    "0x0bd6": _MAX_1550,
    "0x0bd7": _MAX_1350,
    "0x0bd8": _MAX_1350,
    "0x0bd9": _MAX_1100,
    "0x0bda": _MAX_1100,
    "0x0bdb": _MAX_1100,
    "0x56c0": Product("Intel Data Center GPU Flex 170", "flex", memory_gib=16),
    "0x56c1": Product("Intel Data Center GPU Flex 140", "flex", memory_gib=6),
    "0x56c2": Product("Intel Data Center GPU Flex 170V", "flex", memory_gib=16),
    "0x56a0": Product("Intel Arc A770", "arc-a"),
    "0x56a1": Product("Intel Arc A750", "arc-a", memory_gib=8),
    "0x56a2": Product("Intel Arc A580", "arc-a", memory_gib=8),
    "0x56a5": Product("Intel Arc A380", "arc-a", memory_gib=6),
    "0x56a6": Product("Intel Arc A310 LP", "arc-a", memory_gib=4),
    "0x56b1": Product("Intel Arc Pro A40/A50", "arc-a", memory_gib=6),
    "0x56b3": Product("Intel Arc Pro A60", "arc-a", memory_gib=12),
    "0xe209": Product("Intel Arc B580", "arc-b", memory_gib=_as_shown(12)),
    "0xe20b": Product("Intel Arc B580", "arc-b", memory_gib=_as_shown(12)),
    "0xe20c": Product("Intel Arc B570", "arc-b", memory_gib=_as_shown(10)),
    "0xe211": Product("Intel Arc Pro B60", "arc-b", memory_gib=22.71, roofline="arc-pro-b60"),  # seen: vLLM 49482
    "0xe212": Product("Intel Arc Pro B50", "arc-b", memory_gib=_as_shown(16)),
    "0xe222": Product("Intel Arc Pro B65", "arc-b", memory_gib=_as_shown(32), roofline="arc-pro-b65"),
    "0xe223": Product("Intel Arc Pro B70", "arc-b", memory_gib=30.30, roofline="arc-pro-b70"),  # seen: vLLM 53990
    **dict.fromkeys(("0x674c", "0x674d", "0x674e", "0x674f"), _CRESCENT_ISLAND),
}
"""The A770 was sold with 8 and with 16 GB under one id, so only the driver knows its memory."""


def product_of(device_id: str, pci_address: str) -> Product:
    """The product of a device id; one that is not in the table counts as integrated if it is on the root bus.

    A known card may be on the root bus too: virtual machines put devices there that are passed through.
    """
    known = PRODUCTS.get(device_id.lower())
    if known is not None:
        return known
    on_root_bus = pci_address.split(":")[1:2] == ["00"]
    name = "Intel integrated GPU" if on_root_bus else "Intel GPU"
    return Product(f"{name} ({device_id})", "integrated" if on_root_bus else "unknown")


def product_named(name: str) -> Product | None:
    """The product with a name, e.g. `Device.name`; None if it is not in the table."""
    return next((product for product in PRODUCTS.values() if product.name == name), None)
