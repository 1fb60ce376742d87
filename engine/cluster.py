"""Starts Ray, and workers on its devices."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.config import Engine
from core.errors import EngineError
from core.progress import Waiting
from engine.backends import BackendSettings
from engine.devices import Device, pinning
from engine.guardian import guard_processes
from engine.worker import Worker

USUAL_START_S = {"cpu": 40.0}  # measured: 25 to 60 s with a 135M model


@contextmanager
def ray_session(devices: list[Device]) -> Iterator[None]:
    """A Ray of our own for the time of the block; it ends with this process, even if that is killed."""
    # Ray would otherwise hide all GPUs from processes that ask for none, and warn about it.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import psutil
    import ray

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


def start_worker(config: Engine, device: Device, log: Path) -> Any:
    """The handle of a new worker whose engine may still be loading; see `wait_until_started`."""
    import ray

    settings = BackendSettings(config.model, device, f"worker-{device.index}", config.vllm)
    return (
        ray.remote(Worker)
        .options(
            num_cpus=len(device.cores) if device.kind == "cpu" else 1,
            num_gpus=0 if device.kind == "cpu" else 1,
            max_restarts=0,  # the dispatcher starts a new one: Ray would replay calls whose prompts are requeued
            runtime_env={"env_vars": pinning(device)},
        )
        .remote(config.backend, settings, str(log.resolve()))
    )


def wait_until_started(workers: list[Any], config: Engine, devices: list[Device]) -> None:
    """Returns when every worker has its model loaded.

    Raises:
        EngineError: one of them cannot start, or does not within `engine.start_timeout_s`.
    """
    import ray
    from ray.exceptions import GetTimeoutError, RayActorError

    kind = devices[0].kind
    what = f"starting {config.backend} with {config.model} on {', '.join(map(str, devices))}: imports, weights, warm-up"
    with Waiting(what, usual_s=USUAL_START_S.get(kind)):
        try:
            problems = ray.get([worker.start.remote() for worker in workers], timeout=config.start_timeout_s)
        except GetTimeoutError as error:
            limit = f"engine.start_timeout_s = {config.start_timeout_s:g}"
            raise EngineError(f"the engine did not start within {limit}", mend="see xpoll.log, or raise it") from error
        except RayActorError as error:
            raise EngineError("the engine's process died while it started", mend="see xpoll.log") from error
        for problem in filter(None, problems):
            raise EngineError(problem)


def end_worker(worker: Any) -> None:
    """Ends the actor; its guardian ends whatever it started."""
    import ray

    ray.kill(worker, no_restart=True)
