"""Intel GPUs through Level Zero Sysman, in a subprocess.

A process has one mode of Level Zero; an engine needs FLAT and Sysman COMPOSITE, so the reader is the subprocess
`python -m xpoll.energy.sysman`, which prints {"gpu0": joules, ...} ten times per second. Needs the Level Zero
loader and access to /dev/dri. Written from the API's specification (zes_api.h) and tested against a fake
library, not yet on a GPU.
"""

import ctypes
import ctypes.util
import json
import os
import sys
import time

from xpoll.energy.counters import MICRO, CounterError, SourceCounters
from xpoll.energy.printed import find_printed

EVERY_S = 0.1
START_S = 15.0
LOADER = "XPOLL_LEVEL_ZERO_LOADER"  # another path of the loader


class EnergyCounter(ctypes.Structure):
    """zes_power_energy_counter_t: energy in microjoules, timestamp in microseconds."""

    _fields_ = (("energy", ctypes.c_uint64), ("timestamp", ctypes.c_uint64))


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
    """The power domains of all cards: the card's own domain, or its only domain where it has no own one.

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
        self._check("zesInit", self._library.zesInit(ctypes.c_uint32(0)))
        devices = [d for driver in self._all("zesDriverGet") for d in self._all("zesDeviceGet", driver)]
        self._domains = {f"gpu{number}": self._domain(device) for number, device in enumerate(devices)}
        if not self._domains:
            raise CounterError("Level Zero sees no card")

    def read_j(self) -> dict[str, float]:
        """Joules by card, keys "gpu0", "gpu1", ...

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

    def _domain(self, device: ctypes.c_void_p) -> ctypes.c_void_p:
        domain = ctypes.c_void_p()
        if self._library.zesDeviceGetCardPowerDomain(device, ctypes.byref(domain)) == 0 and domain:
            return domain
        domains = self._all("zesDeviceEnumPowerDomains", device)
        if len(domains) != 1:  # whether several overlap is not known
            raise CounterError(f"a card without a power domain of its own has {len(domains)} domains")
        return domains[0]

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
