"""NVIDIA GPUs through NVML, by NVIDIA's package nvidia-ml-py where it is installed (Volta and newer)."""

import importlib
from typing import Any

from xpoll.energy.counters import CounterError, SourceCounters, Unwrapped

RESOLUTION_S = 0.1
MILLI = 1e-3


class NvmlCounter:
    """Energy of one GPU since its driver was loaded; NVML counts millijoules.

    Args:
        nvml: The module pynvml, initialised.
        number: NVML's index of the GPU.
    """

    resolution_s = RESOLUTION_S

    def __init__(self, nvml: Any, number: int) -> None:
        self.name = f"nvml gpu{number}"
        self._nvml, self._handle = nvml, nvml.nvmlDeviceGetHandleByIndex(number)
        self._unwrapped = Unwrapped()

    def read_j(self) -> float:
        """Joules since the first reading.

        Raises:
            CounterError: NVML cannot read the GPU, or the counter was reset.
        """
        try:
            return self._unwrapped.add(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle) * MILLI)
        except self._nvml.NVMLError as error:
            raise CounterError(f"{self.name}: {error}") from error

    def close(self) -> None:
        """Nothing to release."""


def find_nvml(module: str = "pynvml") -> SourceCounters:
    """One counter per NVIDIA GPU.

    Args:
        module: Import name of nvidia-ml-py.
    """
    try:
        nvml = importlib.import_module(module)
    except ImportError:
        return SourceCounters([], "nvidia-ml-py is not installed")
    try:
        nvml.nvmlInit()
        counters = [NvmlCounter(nvml, number) for number in range(nvml.nvmlDeviceGetCount())]
        for counter in counters:
            counter.read_j()
    except (nvml.NVMLError, CounterError) as error:
        return SourceCounters([], str(error))
    return SourceCounters(counters, "" if counters else "NVML sees no GPU")
