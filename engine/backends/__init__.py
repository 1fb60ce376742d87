"""What can answer prompts. To add a backend: one file here and one line in BACKENDS."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from core.errors import ConfigError
from core.records import Completion, Prompt
from engine.devices import Device


@dataclass(frozen=True, slots=True)
class BackendSettings:
    """What a backend needs to start; plain values, because they travel to another process."""

    model: str
    device: Device
    worker: str
    options: dict[str, Any] = field(default_factory=dict)


class EngineDeadError(Exception):
    """The engine behind a backend is gone; its prompts in flight have no answer."""


class Backend(Protocol):
    """Answers prompts, many at a time, each as soon as it is finished."""

    async def start(self) -> None:
        """Loads the model. Raises with a message for the user where that cannot work."""

    async def answer(self, prompt: Prompt) -> Completion:
        """The completion of one prompt; a prompt that cannot be answered ends as an error row.

        Raises:
            EngineDeadError: the engine is gone, and with it every prompt in flight.
        """

    def stop(self) -> None:
        """Ends every process that `start` began."""


def _backend(module: str, name: str) -> Callable[[BackendSettings], Backend]:
    def make(settings: BackendSettings) -> Backend:
        backend: Backend = getattr(importlib.import_module(module), name)(settings)
        return backend

    return make


BACKENDS: dict[str, Callable[[BackendSettings], Backend]] = {
    "vllm": _backend("engine.backends.vllm", "VllmBackend"),
    "replay": _backend("engine.backends.replay", "ReplayBackend"),
    "simulated": _backend("engine.backends.simulated", "SimulatedBackend"),
}


LOADS_MODEL = frozenset({"vllm"})
"""Backends that need the files of `engine.model` on this machine."""


def check_backend(name: str) -> None:
    """Refuses a backend that is not in the table.

    Raises:
        ConfigError: names the known ones.
    """
    if name not in BACKENDS:
        raise ConfigError(f"engine.backend: unknown backend {name!r}", mend=f"known backends: {', '.join(BACKENDS)}")
