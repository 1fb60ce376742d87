"""Starts Ray or connects to one, and begins workers on its devices."""

import os
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from xpoll.core.config import EngineConfig
from xpoll.core.errors import EngineError
from xpoll.core.processes import guard_descendants
from xpoll.core.progress import Waiting
from xpoll.engine.backends.backend import BackendSettings
from xpoll.engine.backends.registry import devices_for
from xpoll.engine.devices.find import Device, pinning
from xpoll.engine.devices.nodes import cluster_devices
from xpoll.engine.work import StopRule
from xpoll.engine.worker import WorkerActor

SELDOM = {
    # collected, and read by nobody
    "RAY_enable_metrics_collection": "false",
    "RAY_event_stats": "false",
    "RAY_enable_timeline": "false",
    "RAY_task_events_report_interval_ms": "0",  # 0: never
    "RAY_ray_events_report_interval_ms": "0",
    "RAY_io_context_monitor_probe_interval_ms": "30000",
    "REPORTER_UPDATE_INTERVAL_MS": "600000",
    # new logs, and nodes to add
    "RAY_LOG_MONITOR_MANY_FILES_THRESHOLD": "0",
    "LOG_NAME_UPDATE_INTERVAL_S": "30",
    "AUTOSCALER_UPDATE_INTERVAL_S": "600",
    # what one node says to itself, and looks for in its own store, four to ten times a second
    "RAY_raylet_report_resources_period_milliseconds": "1000",
    "RAY_report_worker_backlog_interval_ms": "10000",
    "RAY_raylet_check_gc_period_milliseconds": "1000",
    "RAY_kill_idle_workers_interval_ms": "1000",
    "RAY_memory_monitor_refresh_ms": "1000",
    "RAY_object_manager_timer_freq_ms": "1000",
    "RAY_local_fs_monitor_interval_ms": "5000",
}
"""What a Ray of our own does less often than Ray's defaults have it: with one node and long calls nobody waits for it.

A CPU engine computes on all cores, and its threads wait for one another, so whatever wakes on one core stops all.
"""

LISTENS_S = 5.0  # what listens answers within one trip; what a firewall drops never does
STOP_S = 10.0  # a worker that hangs does not answer, and is ended all the same


@contextmanager
def ray_session(config: EngineConfig, *, log: Path) -> Iterator[list[Device]]:
    """A Ray for the time of the block, and the devices to start engines on.

    The cluster at `engine.address` with the devices of all its nodes, or a Ray of our own with those of
    this machine; one of our own ends with this process, even if that is killed. What Ray prints in the
    block, e.g. that a worker died, goes to the log: stdout is for results.

    Raises:
        EngineError: the cluster cannot be reached, or fewer devices are there than asked for.
    """
    # Ray would otherwise hide all GPUs from processes that ask for none, and warn about it.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray would start idle workers ahead of need, one a core; they take time at the start and later.
    os.environ.setdefault("RAY_prestart_worker_first_driver", "0")
    # Ray starts workers at niceness 15, where any other process takes the processor from the engine.
    os.environ.setdefault("RAY_worker_niceness", "0")
    import ray

    with log.open("a", encoding="utf-8") as messages, redirect_stdout(messages):
        try:
            yield _connect(config) if config.address else _start(config)
        finally:
            ray.shutdown()


def _connect(config: EngineConfig) -> list[Device]:
    assert config.address is not None
    # Ray would try twenty times, 40 s each, and not hear SIGTERM meanwhile.
    os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "1")
    import ray

    with Waiting(f"connecting to Ray at {config.address}", usual_s=2):
        try:
            _knock(config.address)
            ray.init(address=config.address, job_config=_job(), log_to_driver=False, logging_level="error")
        except (OSError, RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            mend = "RAY_AUTH_MODE=token xpoll ..." if "InvalidAuthToken" in str(error) else "ray status"
            raise EngineError(f"engine.address = {config.address!r}: {reason}", mend=mend) from error
        return cluster_devices(config)


class _NoPaths(list[str]):
    """Stays empty: Ray appends the folders of driver and job to what its workers search first."""

    def extend(self, _: Iterable[str]) -> None:
        """Adds nothing."""


def _job() -> Any:
    """A job whose workers import from their environment alone.

    A file of the user's that is called like a package, e.g. vllm.py or datasets.py beside the job, would else be
    imported in that package's place.
    """
    from ray.job_config import JobConfig

    job = JobConfig()
    job._py_driver_sys_path = _NoPaths()
    return job


def _knock(address: str) -> None:
    """Asks whether something listens at host:port or ray://host:port; other forms, e.g. "auto", are left to Ray.

    Raises:
        OSError: nothing listens.
    """
    import ray

    where = urlsplit(address if "//" in address else f"//{address}")
    host = where.hostname
    if host is None or where.port is None:
        return
    if not where.scheme and host in ("localhost", "127.0.0.1", "::1"):
        host = ray.util.get_node_ip_address()  # where Ray looks for it, too
    socket.create_connection((host, where.port), LISTENS_S).close()


def _start(config: EngineConfig) -> list[Device]:
    import ray

    devices = devices_for(config)
    num_gpus = sum(device.parallel for device in devices if device.kind != "cpu")
    for name, value in SELDOM.items():
        os.environ.setdefault(name, value)
    guard_descendants()
    with Waiting("starting Ray", usual_s=5):
        ray.init(
            address="local",  # else a Ray that somebody has started on this machine is joined
            # A worker on a GPU asks for a core, and must not wait for one where there are more GPUs than cores.
            num_cpus=max(len(os.sched_getaffinity(0)), num_gpus),
            num_gpus=num_gpus,
            include_dashboard=False,
            job_config=_job(),
            log_to_driver=False,
            logging_level="error",
            object_store_memory=256 * 2**20,
        )
    return devices


def begin_worker(config: EngineConfig, device: Device, *, name: str, stop: StopRule, log: Path) -> Any:
    """The handle of a new worker; its model is loaded by `start`."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    settings = BackendSettings(config.model, device, name, config.backend_options, tuple(config.server_command))
    here = NodeAffinitySchedulingStrategy(device.node, soft=False) if device.node else "DEFAULT"
    return (
        ray.remote(WorkerActor)
        .options(
            **_resources(device),
            max_restarts=0,  # the dispatcher starts a new one: Ray would replay calls whose documents are requeued
            runtime_env={"env_vars": pinning(device)},
            scheduling_strategy=here,
        )
        .remote(config.backend, settings, str(log.resolve()), stop=stop, max_in_flight=config.max_in_flight)
    )


def _resources(device: Device) -> dict[str, float]:
    """What Ray sets aside. A node may have declared less than it has: GPUs are counted only through dpctl."""
    import ray

    nodes = {node["NodeID"]: node["Resources"] for node in ray.nodes()}
    declared = nodes.get(device.node, {}) if device.node else ray.cluster_resources()
    cpus = len(device.cores) if device.kind == "cpu" else 1
    gpus = 0 if device.kind == "cpu" else device.parallel
    return {"num_cpus": min(cpus, declared.get("CPU", 0)), "num_gpus": gpus if declared.get("GPU", 0) >= gpus else 0}


def end_workers(workers: list[Any], end: Callable[[Any], None]) -> None:
    """Lets backends end what no guardian reaches, e.g. a server in a container, then ends the workers."""
    import ray

    ray.wait([worker.stop.remote() for worker in workers], num_returns=len(workers), timeout=STOP_S)
    for worker in workers:
        end(worker)


def end_worker(worker: Any) -> None:
    """Ends the actor; its guardian ends whatever it started."""
    import ray

    ray.kill(worker, no_restart=True)
