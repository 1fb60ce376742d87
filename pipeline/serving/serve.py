"""What `xpoll serve` starts: a student, a job's engines with its panel, or a student with the panel behind it."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xpoll.core.config.job import Config
from xpoll.core.config.teachers import teachers_of
from xpoll.core.errors import ConfigError, RunFolderError
from xpoll.core.files import read_object
from xpoll.core.progress import Waiting
from xpoll.core.run_folder import RunFolder, check_writable
from xpoll.engine.backends.backend import Backend, BackendSettings
from xpoll.engine.backends.registry import BACKENDS, check_backend, devices_for, make_backend, spec_of
from xpoll.engine.devices.find import Device
from xpoll.pipeline.cascade import check_labels, gold_rows, threshold_of
from xpoll.pipeline.serving.app import Served, make_app
from xpoll.pipeline.serving.cascade import ServedCascade
from xpoll.pipeline.serving.engine_proxy import EngineProxy
from xpoll.pipeline.serving.metrics import ServingMetrics
from xpoll.pipeline.serving.panel import Panel, ServedPanel, served_panel
from xpoll.pipeline.serving.server import bound_socket, serve_app
from xpoll.pipeline.serving.student_process import LARGEST_BATCH, StudentProcess, worker_command
from xpoll.student.folder import student_folder
from xpoll.student.inference.cascade import Threshold
from xpoll.votes.tasks.registry import kind_of

LOOPBACK = "127.0.0.1"


class Where(NamedTuple):
    """Where and under which name a server answers, and what computes its student.

    Attributes:
        host: Address to listen on.
        port: Port; 0 takes a free one.
        name: Name of the model in requests; None takes that of the job.
        runtime: What computes the student.
        device: Where; None for the runtime's default.
    """

    host: str = LOOPBACK
    port: int = 8000
    name: str | None = None
    runtime: str = "pytorch"
    device: str | None = None


class Ready(NamedTuple):
    """What a server says when it answers.

    Attributes:
        address: Base URL of the API.
        decisions: Name of the model that labels texts; None where the engine alone is served.
        labels: Its labels.
        engine: Name of the engine's model; None where no engine is behind the address.
        devices: Of the engines.
        counting: How the panel's votes become a label.
        threshold: Of a cascade.
    """

    address: str
    decisions: str | None
    labels: tuple[str, ...]
    engine: str | None = None
    devices: tuple[str, ...] = ()
    counting: str | None = None
    threshold: Threshold | None = None


Tell = Callable[[Ready], None]


class _Engines(NamedTuple):
    """Engines that are up; `address` is None where the backend is a client of something else."""

    devices: list[Device]
    address: str | None


def serve_student(path: Path, where: Where, tell: Tell) -> None:
    """Serves a student until a signal.

    Raises:
        ModelError: the folder holds no student that can be loaded.
        RunFolderError: it is a run whose student is not trained.
        EngineError: the address is taken.
    """
    folder, log = student_folder(path), _log_beside(_run_beside(path) or path)
    if RunFolder(folder).config.exists():
        raise RunFolderError(f"{path} is a run without a student", mend=f"xpoll train {path}, or --panel")

    async def build(stack: AsyncExitStack) -> tuple[Served, dict[str, Any]]:
        name, question = _job_of(path)
        metrics = ServingMetrics(where.name or name)
        student = await _started(stack, folder, where, metrics, log)
        more = {"max_model_len": student.longest}
        return Served(metrics.model, question, student, metrics, more=more), {}

    with bound_socket(where.host, where.port) as bound:
        asyncio.run(_serve(build, bound, log, tell))


def serve_panel(config: Config, where: Where, tell: Tell) -> None:
    """Serves a job's engines, and its panel where its texts get one label each, until a signal.

    Raises:
        ConfigError: the job's backend cannot be served, or its panel cannot be asked.
        EngineError: an engine does not start, or the address is taken.
        ModelError: there is no such model.
    """
    log = _log_beside(Path(config.job.run_folder))
    _check_served(config)
    has_labels = kind_of(config.task.kind).gives_one_label and not config.student.is_generative
    panel = served_panel(config) if has_labels else None
    name = where.name or config.job.name

    with bound_socket(where.host, where.port) as bound, _all_engines(config, log) as engines:

        async def build(stack: AsyncExitStack) -> tuple[Served, dict[str, Any]]:
            proxy = await _proxy(stack, engines)
            asked = Panel(panel, await _backends(stack, panel, engines)) if panel else None
            served = Served(name, config.task.question, asked, ServingMetrics(name), proxy)
            return served, {"engine": _models(config), "devices": _devices(engines)}

        asyncio.run(_serve(build, bound, log, tell))


def serve_generator(student: Path, config: Config, where: Where, tell: Tell) -> None:
    """Serves a fine-tuned language model by the job's engines until a signal.

    Args:
        student: The model's folder.
        config: Whose [engine] says by what it is served; `engine.model` is not read.
        where: Where to answer; the name is that of the model in requests.
        tell: Called when it answers.

    Raises:
        ConfigError: the job's backend starts no engines.
        EngineError: an engine does not start, or the address is taken.
    """
    served = config.engine.model_copy(update={"model": str(student)})
    config = config.model_copy(update={"engine": served})
    _check_served(config)
    if not _has_servers(config):
        raise ConfigError(
            f"engine.backend = {served.backend!r} starts no engine that a model could be served by",
            mend="--set engine.backend=vllm",
        )
    log, name = _log_beside(_run_beside(student) or student), where.name or config.job.name

    with bound_socket(where.host, where.port) as bound, _engines(config, log, name=name) as engines:

        async def build(stack: AsyncExitStack) -> tuple[Served, dict[str, Any]]:
            by_teacher: dict[str | None, _Engines] = {None: engines}
            proxy = await _proxy(stack, by_teacher)
            served = Served(name, None, None, ServingMetrics(name), proxy)
            return served, {"engine": name, "devices": _devices(by_teacher)}

        asyncio.run(_serve(build, bound, log, tell))


def serve_cascade(path: Path, config: Config, target: float, where: Where, tell: Tell) -> None:
    """Serves a student with a run's panel behind it until a signal.

    Args:
        path: The student's folder, or the run that holds it.
        config: Of a run with gold rows, whose panel is asked.
        target: Accuracy that the student is to reach alone, 0 to 1.
        where: Where to answer.
        tell: Called when it answers.

    Raises:
        ConfigError: the run's backend cannot be served, or its panel cannot be asked.
        EngineError: an engine does not start, or the address is taken.
        InputError: the run has no gold rows.
        ModelError: the student cannot be loaded, or its labels are not the run's.
    """
    run = Path(config.job.run_folder)
    folder, log = student_folder(path), _log_beside(run)
    _check_served(config)
    gold, panel = gold_rows(RunFolder(run)), served_panel(config)
    name = where.name or config.job.name

    with bound_socket(where.host, where.port) as bound, _all_engines(config, log) as engines:

        async def build(stack: AsyncExitStack) -> tuple[Served, dict[str, Any]]:
            metrics = ServingMetrics(name)
            student = await _started(stack, folder, where, metrics, log)
            check_labels(folder, student.labels, config, run)
            shares = []
            for first in range(0, len(gold), LARGEST_BATCH):
                said = await student.label_texts([row.text for row in gold[first : first + LARGEST_BATCH]])
                shares += [each.distribution for each in said]
            chosen = threshold_of(gold, student.labels, np.array(shares), target)
            proxy = await _proxy(stack, engines)
            asked = Panel(panel, await _backends(stack, panel, engines))
            labeller = ServedCascade(student, asked, chosen.threshold)
            more = {"max_model_len": student.longest, "threshold": chosen.threshold}
            served = Served(name, config.task.question, labeller, metrics, proxy, more)
            return served, {"engine": _models(config), "devices": _devices(engines), "threshold": chosen}

        asyncio.run(_serve(build, bound, log, tell))


Build = Callable[[AsyncExitStack], Awaitable[tuple[Served, dict[str, Any]]]]


async def _serve(build: Build, bound: socket.socket, log: Path, tell: Tell) -> None:
    async with AsyncExitStack() as stack:
        served, about = await build(stack)
        host, port = bound.getsockname()[:2]
        host = f"[{host}]" if ":" in host else host
        labeller = served.labeller
        ready = Ready(
            f"http://{host}:{port}/v1",
            served.name if labeller else None,
            labeller.labels if labeller else (),
            **about,
            counting=labeller.counting if labeller else None,
        )
        await serve_app(make_app(served), bound, log=log, ready=lambda: tell(ready))


async def _started(
    stack: AsyncExitStack, folder: Path, where: Where, metrics: ServingMetrics, log: Path
) -> StudentProcess:
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    stack.callback(os.close, output)
    command = worker_command(folder, runtime=where.runtime, device=where.device)
    student = StudentProcess(command, metrics.of_student(), output=output)
    with Waiting(f"loading the student of {folder}", usual_s=10):
        await student.start()
    stack.push_async_callback(student.stop)
    return student


async def _proxy(stack: AsyncExitStack, engines: Mapping[str | None, _Engines]) -> EngineProxy | None:
    address = next((each.address for each in engines.values() if each.address is not None), None)
    if address is None:
        return None
    proxy = EngineProxy(address)
    stack.push_async_callback(proxy.close)
    return proxy


async def _backends(
    stack: AsyncExitStack, panel: ServedPanel, engines: Mapping[str | None, _Engines]
) -> dict[str | None, Backend]:
    """What answers the prompts of each teacher, started."""
    return {
        each.teacher.name: await _backend(stack, each.teacher.config, engines[each.teacher.name])
        for each in panel.asked
    }


async def _backend(stack: AsyncExitStack, config: Config, engines: _Engines) -> Backend:
    device = engines.devices[0]
    settings = BackendSettings(config.engine.model, device, "serve", config.engine.backend_options)
    backend: Backend
    if engines.address is None:
        backend = make_backend(config.engine.backend, settings)
    else:
        from xpoll.engine.backends.vllm.running_server import RunningVllmBackend

        backend = RunningVllmBackend(settings, engines.address)
    await backend.start()

    async def stop() -> None:
        backend.stop()
        await asyncio.sleep(0.1)  # it closes its connections in a task of its own

    stack.push_async_callback(stop)
    return backend


@contextmanager
def _all_engines(config: Config, log: Path) -> Iterator[dict[str | None, _Engines]]:
    """The engines of each teacher of a job, by its name."""
    with ExitStack() as stack:
        yield {each.name: stack.enter_context(_engines(each.config, log)) for each in teachers_of(config)}


@contextmanager
def _engines(config: Config, log: Path, *, name: str | None = None) -> Iterator[_Engines]:
    """The engines of a teacher behind an address of their own, where its backend has any; `name` is the model's."""
    if not _has_servers(config):
        yield _Engines(devices_for(config.engine), None)
        return
    from xpoll.engine.serve import serving

    with bound_socket(LOOPBACK, 0) as probe:
        port = probe.getsockname()[1]
    with serving(config.engine, host=LOOPBACK, port=port, log=log, name=name) as devices:
        yield _Engines(devices, f"http://{LOOPBACK}:{port}")


def _has_servers(config: Config) -> bool:
    spec = spec_of(config.engine.backend)
    return spec.runs_here and spec.serves and spec.runs_model


def _models(config: Config) -> str:
    return " + ".join(dict.fromkeys(each.config.engine.model for each in teachers_of(config)))


def _devices(engines: Mapping[str | None, _Engines]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(device) for each in engines.values() for device in each.devices))


def _check_served(config: Config) -> None:
    """Refuses what cannot be served; beside others, an encoder votes in the server's own process.

    Raises:
        ConfigError: names the teacher's backend, or those of which there are too many.
    """
    teachers = teachers_of(config)
    for teacher in teachers:
        backend, key = teacher.config.engine.backend, "engine.backend"
        served = [name for name, spec in BACKENDS.items() if spec.serves or (teacher.name and name == "encoder")]
        if backend not in served:
            if teacher.name:
                key = f"teachers.{teacher.name}.{key}"
            raise ConfigError(
                f"{key}: only {', '.join(served)} can be served, not {backend!r}",
                mend=f"--set engine.backend={served[0]}" if teacher.name is None else f"give {teacher.name} another",
            )
        check_backend(teacher.config.engine)
    if len(own := [str(each.name) for each in teachers if _has_servers(each.config)]) > 1:
        raise ConfigError(
            f"the teachers {' and '.join(own)} each need engines here, and one can have them",
            mend="serve the others elsewhere (xpoll serve --panel) and name them by engine.backend = 'openai'",
        )


def _log_beside(folder: Path) -> Path:
    """Beside the run folder and not in it: `xpoll run` refuses a folder that it has not made."""
    log = folder.resolve().with_name(f"{folder.resolve().name}.serve.log")
    check_writable(log.parent)
    return log


def _run_beside(path: Path) -> Path | None:
    """The run that a student's folder lies in, or the folder itself where it is one."""
    resolved = path.resolve()
    return next((each for each in (resolved, resolved.parent) if RunFolder(each).config.exists()), None)


def _job_of(path: Path) -> tuple[str, str | None]:
    """Name and question of the job that a student is of; the folder's name where no run is around it."""
    run = _run_beside(path)
    if run is None:
        return path.resolve().name, None
    config = read_object(RunFolder(run).config)
    return str(config["job"]["name"]), config["task"].get("question")
