"""Intel GPUs through Level Zero Sysman, in a subprocess.

A process has one mode of Level Zero; an engine needs FLAT and Sysman COMPOSITE, so the reader is the subprocess
`python -m xpoll.energy.sysman`, which prints {"gpu0 (package)": joules, ...} ten times per second; in brackets
is the power domain. Needs the Level Zero loader and access to /dev/dri. Written from the API's specification
(zes_api.h) and tested against fake libraries, not yet on a GPU.
"""

import ctypes
import ctypes.util
import json
import os
import sys
import time
from typing import NamedTuple

from xpoll.energy.counters import MICRO, CounterError, SourceCounters
from xpoll.energy.printed import find_printed

EVERY_S = 0.1
START_S = 15.0
LOADER = "XPOLL_LEVEL_ZERO_LOADER"  # another path of the loader


class EnergyCounter(ctypes.Structure):
    """zes_power_energy_counter_t: energy in microjoules, timestamp in microseconds."""

    _fields_ = (("energy", ctypes.c_uint64), ("timestamp", ctypes.c_uint64))


class PowerExtProperties(ctypes.Structure):
    """zes_power_ext_properties_t: which domain it is."""

    _fields_ = (
        ("stype", ctypes.c_uint32),
        ("pNext", ctypes.c_void_p),
        ("domain", ctypes.c_int32),
        ("defaultLimit", ctypes.c_void_p),
    )


class PowerProperties(ctypes.Structure):
    """zes_power_properties_t: onSubdevice is 0 for a domain of the whole card; limits in milliwatts."""

    _fields_ = (
        ("stype", ctypes.c_uint32),
        ("pNext", ctypes.c_void_p),
        ("onSubdevice", ctypes.c_uint8),
        ("subdeviceId", ctypes.c_uint32),
        ("canControl", ctypes.c_uint8),
        ("isEnergyThresholdSupported", ctypes.c_uint8),
        ("defaultLimit", ctypes.c_int32),
        ("minLimit", ctypes.c_int32),
        ("maxLimit", ctypes.c_int32),
    )


POWER_PROPERTIES, POWER_EXT_PROPERTIES = 0xD, 0x28
"""zes_structure_type_t of the two."""
DOMAINS = {1: "card", 2: "package", 3: "stack", 4: "memory", 5: "gpu"}
"""zes_power_domain_t."""
OF_THE_WHOLE = ("card", "package", "unknown domain")
"""Domains that cover a whole GPU, most inclusive first. A driver that names no domain has one for the card."""
GPU_ONLY = 1
"""ze_init_flags_t."""


class Domain(NamedTuple):
    """A power domain: its handle, and what it covers."""

    handle: ctypes.c_void_p
    name: str


def find_sysman(loader: str | None = None) -> SourceCounters:
    """One counter per card.

    Args:
        loader: Path of the Level Zero loader; the installed one unless given.
    """
    loader = loader or ctypes.util.find_library("ze_loader")
    if loader is None:
        return SourceCounters([], "the Level Zero loader (libze_loader) is not installed")
    environment = {
        LOADER: loader,
        "ZES_ENABLE_SYSMAN": "1",
        "ZE_FLAT_DEVICE_HIERARCHY": "COMPOSITE",
        "ZE_ENABLE_PCI_ID_DEVICE_ORDER": "1",
        "ZE_AFFINITY_MASK": "",
    }
    command = [sys.executable, "-P", "-m", "xpoll.energy.sysman"]
    return find_printed("sysman", command, _parse, every_s=EVERY_S, start_s=START_S, environment=environment)


def _parse(line: str) -> dict[str, float]:
    if not line.startswith("{"):
        return {}
    parsed: dict[str, float] = json.loads(line)
    return parsed


class Sysman:
    """The power domain of each card: its card domain, or else that of its package.

    i915's cards have no card domain. They have one of the package, and one more for each tile, which is inside it.

    Args:
        loader: Path of the Level Zero loader.

    Raises:
        CounterError: the library cannot be loaded, or sees no card with an energy counter.
    """

    def __init__(self, loader: str) -> None:
        try:
            self._library = ctypes.CDLL(loader)
        except OSError as error:
            raise CounterError(f"{loader} cannot be loaded: {error}") from error
        domains = [self._domain(device) for device in self._devices(loader)]
        self._domains = {f"gpu{number} ({domain.name})": domain.handle for number, domain in enumerate(domains)}
        if not self._domains:
            raise CounterError("Level Zero sees no card")

    def read_j(self) -> dict[str, float]:
        """Joules by card and domain, keys "gpu0 (package)", "gpu1 (package)", ...

        Raises:
            CounterError: a counter cannot be read.
        """
        joules = {}
        for part, domain in self._domains.items():
            counter = EnergyCounter()
            status = self._library.zesPowerGetEnergyCounter(domain, ctypes.byref(counter))
            self._check("zesPowerGetEnergyCounter", status)
            joules[part] = counter.energy * MICRO
        return joules

    def _devices(self, loader: str) -> list[ctypes.c_void_p]:
        """Sysman's devices; older loaders know no zesInit, and there ZES_ENABLE_SYSMAN makes the core's do."""
        if hasattr(self._library, "zesInit"):
            self._check("zesInit", self._library.zesInit(ctypes.c_uint32(0)))
            drivers, devices = "zesDriverGet", "zesDeviceGet"
        elif hasattr(self._library, "zeInit"):
            self._check("zeInit", self._library.zeInit(ctypes.c_uint32(GPU_ONLY)))
            drivers, devices = "zeDriverGet", "zeDeviceGet"
        else:
            raise CounterError(f"{loader} has neither zesInit nor zeInit: it is no Level Zero loader")
        return [device for driver in self._all(drivers) for device in self._all(devices, driver)]

    def _domain(self, device: ctypes.c_void_p) -> Domain:
        domain = ctypes.c_void_p()
        if self._library.zesDeviceGetCardPowerDomain(device, ctypes.byref(domain)) == 0 and domain:
            return Domain(domain, "card")
        found = [self._described(handle) for handle in self._all("zesDeviceEnumPowerDomains", device)]
        whole = [each for each in found if each is not None]
        for name in OF_THE_WHOLE:
            named = [each for each in whole if each.name == name]
            if len(named) == 1:
                return named[0]
        shown = ", ".join(each.name for each in whole) or "none of the whole card"
        raise CounterError(f"a card has {len(found)} power domains, and which one counts it all is not known: {shown}")

    def _described(self, handle: ctypes.c_void_p) -> Domain | None:
        """A domain of the whole card; None for that of a tile."""
        more = PowerExtProperties(stype=POWER_EXT_PROPERTIES)
        about = PowerProperties(stype=POWER_PROPERTIES, pNext=ctypes.addressof(more))
        self._check("zesPowerGetProperties", self._library.zesPowerGetProperties(handle, ctypes.byref(about)))
        return None if about.onSubdevice else Domain(handle, DOMAINS.get(more.domain, "unknown domain"))

    def _all(self, function: str, *parents: ctypes.c_void_p) -> list[ctypes.c_void_p]:
        count = ctypes.c_uint32(0)
        call = getattr(self._library, function)
        self._check(function, call(*parents, ctypes.byref(count), None))
        handles = (ctypes.c_void_p * count.value)()
        self._check(function, call(*parents, ctypes.byref(count), handles))
        return [ctypes.c_void_p(handle) for handle in handles]

    @staticmethod
    def _check(function: str, status: int) -> None:
        if status:
            raise CounterError(f"{function} answers 0x{status & 0xFFFFFFFF:x}")


def print_readings() -> int:
    """Prints a line every EVERY_S until the pipe is closed.

    Returns:
        Exit code 0; or 1, after printing the reason, where a counter cannot be read.
    """
    try:
        sysman = Sysman(os.environ[LOADER])
        while True:
            print(json.dumps(sysman.read_j()), flush=True)  # noqa: T201
            time.sleep(EVERY_S)
    except CounterError as error:
        print(error, flush=True)  # noqa: T201
        return 1
    except BrokenPipeError:
        return 0


if __name__ == "__main__":
    raise SystemExit(print_readings())
