"""A Level Zero loader of our own, in C: cards with power domains as the driver under test shows them."""

import shutil
import subprocess
import textwrap
from collections.abc import Sequence
from pathlib import Path

import pytest

SOURCE = """
    #include <stdint.h>
    #include <stddef.h>
    /* Layouts of zes_power_energy_counter_t, zes_power_properties_t and zes_power_ext_properties_t (zes_api.h). */
    typedef struct { uint64_t energy, timestamp; } counter_t;
    typedef struct { uint32_t stype; void *next; uint8_t on_subdevice; uint32_t subdevice; uint8_t can_control,
        is_threshold_supported; int32_t limit, min_limit, max_limit; } properties_t;
    typedef struct { uint32_t stype; void *next; uint32_t domain; void *limit; } ext_properties_t;
    typedef struct { uint32_t subdevice_plus_1, domain; uint64_t step_uj; } domain_t;

    static const domain_t domains[] = { DOMAINS {0, 0, 0} };
    #define NUMBER (sizeof domains / sizeof *domains - 1)
    static uint64_t reads[CARDS + 1][NUMBER + 1];

    static uint32_t list(uint32_t *count, void **handles, uint32_t number, uintptr_t base) {
        if (handles) for (uint32_t i = 0; i < number; i++) handles[i] = (void *)(base + i + 1);
        else *count = number;
        return 0;
    }
    #ifdef WITH_ZES_INIT
    uint32_t zesInit(uint32_t flags) { return INIT; }
    uint32_t zesDriverGet(uint32_t *count, void **handles) { return list(count, handles, 1, 0); }
    uint32_t zesDeviceGet(void *driver, uint32_t *count, void **handles) { return list(count, handles, CARDS, 0); }
    #endif
    #ifdef WITH_ZE_INIT
    uint32_t zeInit(uint32_t flags) { return flags == 1 ? INIT : 0x78000004; }
    uint32_t zeDriverGet(uint32_t *count, void **handles) { return list(count, handles, 1, 0); }
    uint32_t zeDeviceGet(void *driver, uint32_t *count, void **handles) { return list(count, handles, CARDS, 0); }
    #endif
    uint32_t zesDeviceGetCardPowerDomain(void *device, void **domain) {
        *domain = (void *)((uintptr_t)device * 256 + 1);
        return CARD_DOMAIN;
    }
    uint32_t zesDeviceEnumPowerDomains(void *device, uint32_t *count, void **handles) {
        return list(count, handles, NUMBER, (uintptr_t)device * 256);
    }
    uint32_t zesPowerGetProperties(void *handle, properties_t *about) {
        const domain_t *domain = &domains[(uintptr_t)handle % 256 - 1];
        if (about->stype != 0xd) return 0x78000004;
        about->on_subdevice = domain->subdevice_plus_1 != 0;
        about->subdevice = domain->subdevice_plus_1 - about->on_subdevice;
        about->max_limit = 600000;
        ext_properties_t *ext = about->next;
        if (ext && ext->stype == 0x28) ext->domain = domain->domain;
        return 0;
    }
    uint32_t zesPowerGetEnergyCounter(void *handle, counter_t *counter) {
        uintptr_t card = (uintptr_t)handle / 256 - 1, domain = (uintptr_t)handle % 256 - 1;
        counter->energy = 1000000 * (card + 1) + domains[domain].step_uj * reads[card][domain]++;
        return 0;
    }
"""

CARD, PACKAGE, STACK, MEMORY, UNKNOWN = 1, 2, 3, 4, 0
"""zes_power_domain_t."""
UNSUPPORTED = 0x78000003

Domains = Sequence[tuple[int | None, int, int]]
"""For each domain of a card: the tile that it is on (None for the whole card), its kind, microjoules per reading."""

I915_TWO_TILES: Domains = ((None, PACKAGE, 500_000), (0, PACKAGE, 200_000), (1, PACKAGE, 200_000))
"""A Data Center GPU Max 1550 under i915: no card domain, one of the package, and one for each tile in it."""


def build_loader(
    folder: Path,
    *,
    domains: Domains = I915_TWO_TILES,
    cards: int = 1,
    card_domain: int = UNSUPPORTED,
    init: int = 0,
    with_init: Sequence[str] = ("ZES",),
) -> str:
    """Compiles the library and returns its path; skips the test where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler on the PATH")
    source, library = folder / "ze_loader.c", folder / "libze_loader.so.1"
    source.write_text(textwrap.dedent(SOURCE))
    rows = "".join(f"{{{0 if tile is None else tile + 1}, {kind}, {step}}}," for tile, kind, step in domains)
    values = {"DOMAINS": rows, "CARDS": cards, "CARD_DOMAIN": card_domain, "INIT": init}
    flags = [f"-D{name}={value}" for name, value in values.items()] + [f"-DWITH_{name}_INIT" for name in with_init]
    command = [compiler, "-shared", "-fPIC", *flags, "-o", str(library), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    return str(library)
