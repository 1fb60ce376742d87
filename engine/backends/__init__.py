"""What can answer prompts. To add a backend: one file here and one line in BACKENDS."""

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from core.config import Engine
from core.config_file import checked_section
from core.errors import ConfigError
from core.records import Completion, Prompt
from engine.devices import Device, find_devices


@dataclass(frozen=True, slots=True)
class BackendSettings:
    """What a backend needs to start; plain values, because they travel to another process.

    Attributes:
        model: `engine.model`.
        device: Where the engine runs; the process is pinned to it already.
        worker: Name of the worker, for its answers.
        options: The config table named after the backend.
        server_command: `engine.server_command`; only the vllm backend reads it.
    """

    model: str
    device: Device
    worker: str
    options: dict[str, Any] = field(default_factory=dict)
    server_command: tuple[str, ...] = ()


class Load(NamedTuple):
    """What an engine says of its own queue: prompts in its batch, prompts that wait to get into it.

    `kv_cache_usage` is a share from 0 to 1, None where the engine does not say.
    """

    running: int
    waiting: int
    kv_cache_usage: float | None = None


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

    def load(self) -> Load | None:
        """What the engine said of its queue last; None where it does not say. Called often, so it must not wait.

        Raises:
            EngineDeadError: the engine is gone, even if prompts in flight were not told.
        """

    def stop(self) -> None:
        """Ends every process that `start` began."""


def _imported(module: str, name: str) -> Callable[[BackendSettings], Backend]:
    def make(settings: BackendSettings) -> Backend:
        backend: Backend = getattr(importlib.import_module(module), name)(settings)
        return backend

    return make


def _vllm(settings: BackendSettings) -> Backend:
    """Inside the worker, or as a server of its own where the job names a command for one."""
    if settings.server_command:
        return _imported("engine.backends.vllm_server", "VllmServerBackend")(settings)
    return _imported("engine.backends.vllm", "VllmBackend")(settings)


BACKENDS: dict[str, Callable[[BackendSettings], Backend]] = {
    "vllm": _vllm,
    "replay": _imported("engine.backends.replay", "ReplayBackend"),
    "openai": _imported("engine.backends.openai", "OpenAIBackend"),
    "simulated": _imported("engine.backends.simulated", "SimulatedBackend"),
}


OPTIONS = {
    "replay": ("engine.backends.replay", "ReplayOptions"),
    "openai": ("engine.backends.openai", "OpenAIOptions"),
    "simulated": ("engine.backends.simulated_draws", "SimulatedOptions"),
}
"""Where the tables of options are that xpoll checks itself; vLLM checks its own."""

LOADS_MODEL = frozenset({"vllm"})
"""Backends that need the files of `engine.model` on this machine."""

COMPUTES_ELSEWHERE = frozenset({"openai"})
"""Backends that need no device here; one worker on the processor carries all requests."""


def device_kind(config: Engine) -> str:
    """What kind of device the workers of a run take."""
    return "cpu" if config.backend in COMPUTES_ELSEWHERE else config.device


def devices_for(config: Engine) -> list[Device]:
    """The devices of this machine for a run. Simulated ones beyond its cores need no core: none of them is there.

    Raises:
        EngineError: fewer are there than asked for.
    """
    if config.backend == "simulated" and config.replicas > len(os.sched_getaffinity(0)):
        return [Device("cpu", i, "simulated") for i in range(config.replicas)]
    return find_devices(device_kind(config), config.replicas, parallel=config.tensor_parallel)


def make_backend(name: str, settings: BackendSettings) -> Backend:
    """A backend by its name in the table, or a class of the user's own as "module:Class"."""
    module, colon, class_name = name.partition(":")
    return _imported(module, class_name)(settings) if colon else BACKENDS[name](settings)


def check_backend(config: Engine) -> None:
    """Refuses a backend that is not in the table, and options that it does not take, before anything starts.

    Raises:
        ConfigError: names the known backends, or the option.
    """
    name = config.backend
    if name not in BACKENDS and ":" not in name:
        raise ConfigError(f"engine.backend: unknown backend {name!r}", mend=f"known backends: {', '.join(BACKENDS)}")
    if name in OPTIONS:
        module, section = OPTIONS[name]
        checked_section(getattr(importlib.import_module(module), section), config.backend_options, f"engine.{name}")
