"""Starts Ray, and workers on its devices."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.config import Engine
from core.progress import Waiting
from engine.backends import BackendSettings
from engine.devices import Device, pinning
from engine.guardian import guard_processes
from engine.work import StopRule
from engine.worker import Worker


@contextmanager
def ray_session(config: Engine, devices: list[Device]) -> Iterator[None]:
    """A Ray for the time of the block: the one at `engine.address`, or one of our own.

    One of our own ends with this process, even if that is killed.
    """
    # Ray would otherwise hide all GPUs from processes that ask for none, and warn about it.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import psutil
    import ray

    if config.address:
        with Waiting(f"connecting to Ray at {config.address}", usual_s=2):
            ray.init(address=config.address, log_to_driver=False, logging_level="error")
    else:
        with Waiting("starting Ray", usual_s=5):
            ray.init(
                num_cpus=len(os.sched_getaffinity(0)),
                num_gpus=sum(device.kind != "cpu" for device in devices),
                include_dashboard=False,
                log_to_driver=False,
                logging_level="error",
                object_store_memory=256 * 2**20,
            )
        guard_processes(process.pid for process in psutil.Process().children(recursive=True))
    try:
        yield
    finally:
        ray.shutdown()


def begin_worker(config: Engine, device: Device, *, stop: StopRule, log: Path) -> Any:
    """The handle of a new worker; its model is loaded by `start`."""
    import ray

    settings = BackendSettings(
        config.model, device, f"worker-{device.index}", config.backend_options, tuple(config.server_command)
    )
    return (
        ray.remote(Worker)
        .options(
            num_cpus=len(device.cores) if device.kind == "cpu" else 1,
            num_gpus=0 if device.kind == "cpu" else 1,
            max_restarts=0,  # the dispatcher starts a new one: Ray would replay calls whose documents are requeued
            runtime_env={"env_vars": pinning(device)},
        )
        .remote(config.backend, settings, str(log.resolve()), stop=stop, max_in_flight=config.max_in_flight)
    )


def end_worker(worker: Any) -> None:
    """Ends the actor; its guardian ends whatever it started."""
    import ray

    ray.kill(worker, no_restart=True)
