"""Starts a local Ray or connects to a cluster, and creates workers on its devices."""

import os
import socket
import stat
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from xpoll.core.config.job import EngineConfig
from xpoll.core.errors import EngineError
from xpoll.core.progress import Waiting
from xpoll.core.secrets import StruckStream
from xpoll.engine.backends.backend import BackendSettings
from xpoll.engine.backends.registry import devices_for
from xpoll.engine.devices.affinity import not_narrowed
from xpoll.engine.devices.find import Device, pinning
from xpoll.engine.devices.nodes import cluster_devices
from xpoll.engine.interrupt import handlers_kept
from xpoll.engine.local_ray import local_ray, ray_is_alive
from xpoll.engine.memory_kills import memory_kills_named
from xpoll.engine.telemetry import without_usage_reports
from xpoll.engine.work import StopRule
from xpoll.engine.worker import WorkerActor

RAY_INTERVALS = {
    # metrics and events that nobody reads
    "RAY_enable_metrics_collection": "false",
    "RAY_event_stats": "false",
    "RAY_enable_timeline": "false",
    "RAY_task_events_report_interval_ms": "0",  # 0: never
    "RAY_ray_events_report_interval_ms": "0",
    "RAY_io_context_monitor_probe_interval_ms": "30000",
    "REPORTER_UPDATE_INTERVAL_MS": "600000",
    # checks for new logs, and for nodes to add
    "RAY_LOG_MONITOR_MANY_FILES_THRESHOLD": "0",
    "LOG_NAME_UPDATE_INTERVAL_S": "30",
    "AUTOSCALER_UPDATE_INTERVAL_S": "600",
    # reports and checks of the one node, by default four to ten times per second
    "RAY_raylet_report_resources_period_milliseconds": "1000",
    "RAY_report_worker_backlog_interval_ms": "10000",
    "RAY_raylet_check_gc_period_milliseconds": "1000",
    "RAY_kill_idle_workers_interval_ms": "1000",
    "RAY_memory_monitor_refresh_ms": "1000",
    "RAY_object_manager_timer_freq_ms": "1000",
    "RAY_local_fs_monitor_interval_ms": "5000",
}
"""Periodic work of a local Ray, at longer intervals than Ray's defaults: one node and long calls need none of it.

A CPU engine computes on all cores, and its threads wait for one another, so each wake-up on one core stalls all.
"""

CONNECT_TIMEOUT_S = 5.0
STOP_TIMEOUT_S = 20.0
"""How long a worker may take to end its engine; it is killed either way. vLLM gives an engine on an Intel GPU 5 s to
leave oneCCL and then waits for its processes."""


@contextmanager
def ray_session(config: EngineConfig, *, log: Path) -> Iterator[list[Device]]:
    """Ray for the duration of the block, and the devices to start engines on.

    That is the cluster at `engine.address` with the devices of all its nodes, or a local Ray with the devices
    of this machine; a local Ray ends with this process, even if that is killed. What Ray prints within the
    block, e.g. that a worker died, goes to the log: stdout is for results.

    Args:
        config: The engine section.
        log: File that Ray's messages are appended to.

    Yields:
        The devices, one engine each.

    Raises:
        EngineError: the cluster cannot be reached, or there are fewer devices than asked for.
    """
    with messages_to(log), running_ray(config) as devices:
        yield devices


@contextmanager
def running_ray(config: EngineConfig) -> Iterator[list[Device]]:
    """As `ray_session`, without a log for what Ray prints.

    Raises:
        EngineError: the cluster cannot be reached, or there are fewer devices than asked for.
    """
    # Ray would otherwise hide all GPUs from processes that ask for none, and warn about it.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray would start one idle worker per core in advance, which takes time at the start and later.
    os.environ.setdefault("RAY_prestart_worker_first_driver", "0")
    # Ray starts workers at niceness 15, where any other process takes CPU time from the engine.
    os.environ.setdefault("RAY_worker_niceness", "0")
    with ExitStack() as stack:
        if config.address:
            stack.enter_context(_connected(config.address))
            devices = cluster_devices(config)
        else:
            devices = devices_for(config)
            stack.enter_context(local_ray(lambda **where: _start(devices, where)))
        yield devices


@contextmanager
def messages_to(log: Path) -> Iterator[None]:
    """What Ray prints within the block goes to a log; what other threads of this process print stays where it goes.

    An engine that was killed for memory is called so.
    """
    with (
        log.open("a", encoding="utf-8") as messages,
        redirect_stdout(_RayMessages(StruckStream(messages), sys.stdout)),  # type: ignore[type-var]
        memory_kills_named(),
    ):
        yield


class _RayMessages:
    """stdout in parts: what this thread and Ray's own print goes to one stream, all else to the other."""

    def __init__(self, messages: Any, others: Any) -> None:
        self._messages, self._others, self._thread = messages, others, threading.current_thread()

    def _stream(self) -> Any:
        thread = threading.current_thread()
        return self._messages if thread is self._thread or thread.name.startswith("ray_") else self._others

    def write(self, text: str) -> int:
        """Writes it to the stream of the thread that calls."""
        return int(self._stream().write(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream(), name)


@contextmanager
def _connected(address: str) -> Iterator[None]:
    import ray

    try:
        with Waiting(f"connecting to Ray at {address}", usual_s=2), handlers_kept():
            _connect(address)
        yield
    finally:
        ray.shutdown()


def _connect(address: str) -> None:
    # Ray would try twenty times, 40 s each, and ignore SIGTERM meanwhile.
    os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "1")
    import ray

    try:
        _keep_token_private()
        _check_listening(address)
        ray.init(address=address, job_config=_job(), log_to_driver=False, logging_level="error")
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        mend = "RAY_AUTH_MODE=token xpoll ..." if "InvalidAuthToken" in str(error) else "ray status"
        raise EngineError(f"engine.address = {address!r}: {reason}", mend=mend) from error


def _keep_token_private() -> None:
    """Ray writes the token of a cluster so that all users of the machine can read it, and with it run code there."""
    token = Path("~/.ray/auth_token").expanduser()
    with suppress(OSError):
        if stat.S_IMODE(token.stat().st_mode) & 0o077:
            token.chmod(0o600)


class _NoPaths(list[str]):
    """A list that stays empty: Ray appends the folders of driver and job to what its workers search first."""

    def extend(self, _: Iterable[str]) -> None:
        """Adds nothing."""


def _job() -> Any:
    """A Ray job whose workers import from their environment alone.

    Otherwise a user's file with the name of a package, e.g. vllm.py or datasets.py beside the job, would be
    imported instead of the package.
    """
    from ray.job_config import JobConfig

    job = JobConfig()
    job._py_driver_sys_path = _NoPaths()
    return job


def _check_listening(address: str) -> None:
    """Checks that a server listens at host:port or ray://host:port; other forms, e.g. "auto", are left to Ray.

    Raises:
        OSError: nothing listens.
    """
    import ray

    where = urlsplit(address if "//" in address else f"//{address}")
    host = where.hostname
    if host is None or where.port is None:
        return
    if not where.scheme and host in ("localhost", "127.0.0.1", "::1"):
        host = ray.util.get_node_ip_address()  # as Ray itself does
    socket.create_connection((host, where.port), CONNECT_TIMEOUT_S).close()


def _start(devices: Sequence[Device], where: Mapping[str, Any]) -> None:
    for name, value in RAY_INTERVALS.items():
        os.environ.setdefault(name, value)
    import ray

    num_gpus = sum(device.parallel for device in devices if device.kind != "cpu")
    with Waiting("starting Ray", usual_s=5), handlers_kept(), without_usage_reports(), not_narrowed():
        ray.init(
            # A worker on a GPU asks for one core, and must not wait for it where there are more GPUs than cores.
            num_cpus=max(len(os.sched_getaffinity(0)), num_gpus),
            num_gpus=num_gpus,
            include_dashboard=False,
            job_config=_job(),
            log_to_driver=False,
            logging_level="error",
            **where,
        )


def create_worker(config: EngineConfig, device: Device, *, name: str, stop: StopRule, log: Path) -> Any:
    """The Ray handle of a new worker, whose model is not loaded: `start` does that.

    Args:
        config: The engine section.
        device: Where the worker runs.
        name: The worker's name, for its answers.
        stop: When a document needs no more answers.
        log: File that gets what the worker and its children print.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    settings = BackendSettings(config.model, device, name, config.backend_options, tuple(config.server_command))
    here = NodeAffinitySchedulingStrategy(device.node, soft=False) if device.node else "DEFAULT"
    return (
        ray.remote(WorkerActor)
        .options(
            **_resources(device),
            max_restarts=0,  # the dispatcher creates a new one: Ray would replay calls whose documents are requeued
            runtime_env={"env_vars": pinning(device)},
            scheduling_strategy=here,
        )
        .remote(config.backend, settings, str(log.resolve()), stop=stop, max_in_flight=config.max_in_flight)
    )


def _resources(device: Device) -> dict[str, float]:
    """The resources to reserve in Ray. A node may declare fewer than it has: Ray counts Intel GPUs only via dpctl."""
    import ray

    nodes = {node["NodeID"]: node["Resources"] for node in ray.nodes()}
    declared = nodes.get(device.node, {}) if device.node else ray.cluster_resources()
    cpus = len(device.cores) if device.kind == "cpu" else 1
    gpus = 0 if device.kind == "cpu" else device.parallel
    return {"num_cpus": min(cpus, declared.get("CPU", 0)), "num_gpus": gpus if declared.get("GPU", 0) >= gpus else 0}


def shut_down_workers(workers: list[Any], kill: Callable[[Any], None]) -> None:
    """Lets backends end what no guardian reaches, e.g. a server in a container, then kills the workers."""
    if not ray_is_alive():
        return  # its workers end by themselves
    import ray

    ray.wait([worker.stop.remote() for worker in workers], num_returns=len(workers), timeout=STOP_TIMEOUT_S)
    for worker in workers:
        kill(worker)


def end_of_worker(devices: Sequence[Device], kill: Callable[[Any], None]) -> Callable[[Any], None]:
    """What ends a worker whose place another one takes: `kill`, after its engine has ended where there are Intel GPUs.

    There the next engine may hang in oneCCL if the one before it was killed (vllm/platforms/xpu.py).

    Args:
        devices: The devices of the run.
        kill: Ends a worker at once.
    """
    if all(device.kind != "xpu" for device in devices):
        return kill
    return lambda worker: shut_down_workers([worker], kill)


def kill_worker(worker: Any) -> None:
    """Kills the actor; its guardian ends whatever it started."""
    import ray

    ray.kill(worker, no_restart=True)
