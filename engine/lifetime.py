"""How long engines live: as long as one run, or as long as somebody keeps them for several runs.

A process has one Ray at a time, so engines of one owner: a run that needs others waits for a run in another thread,
and is refused while engines are kept.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Protocol

from xpoll.core.config.job import EngineConfig
from xpoll.core.errors import ConfigError, EngineError
from xpoll.engine.cluster import (
    create_worker,
    kill_worker,
    messages_to,
    ray_session,
    running_ray,
    shut_down_workers,
)
from xpoll.engine.devices.find import Device
from xpoll.engine.work import StopRule

OF_A_RUN = frozenset(
    {
        "max_in_flight",
        "start_timeout_s",
        "hang_timeout_s",
        "max_restarts",
        "rows_per_part",
        "chat_template_kwargs",
    }
)
"""Keys of [engine] in which runs on the same engines may differ."""

_LOCK = threading.RLock()
_kept: "KeptEngines | None" = None
"""Those that hold this process's Ray."""
_LENT: ContextVar["KeptEngines | None"] = ContextVar("engines lent to the runs of this thread", default=None)


class Engines(Protocol):
    """The engines of a run: one worker for each device."""

    def session(self, config: EngineConfig, *, log: Path) -> Any:
        """A context that yields the devices; in it, workers can be had."""

    def worker(self, config: EngineConfig, device: Device, number: int, *, stop: StopRule, log: Path) -> Any:
        """The handle of a worker for a device, by its number; whether its model is loaded, `start` finds out."""

    def kill(self, worker: Any) -> None:
        """Ends a worker that died or hangs."""

    def give_back(self, workers: dict[int, Any]) -> None:
        """Takes the workers that a run has left, by the number of their device."""

    def are_up(self) -> bool:
        """Whether workers are there whose model is loaded."""


class RunEngines:
    """Engines that end with the run.

    Args:
        create: Makes a worker, as `create_worker` does.
        kill: Ends one that `create` made.
    """

    def __init__(self, create: Callable[..., Any] = create_worker, kill: Callable[[Any], None] = kill_worker) -> None:
        self._create, self.kill = create, kill

    @contextmanager
    def session(self, config: EngineConfig, *, log: Path) -> Iterator[list[Device]]:
        """Ray for the duration of the block; yields the devices.

        Raises:
            EngineError: engines are kept in this process, or there are fewer devices than asked for.
        """
        with _LOCK:
            if _kept is not None:
                raise EngineError(
                    "an engine that is kept in this process holds its devices",
                    mend="engine.label(...) on that one, or engine.close() first",
                )
            with ray_session(config, log=log) as devices:
                yield devices

    def worker(self, config: EngineConfig, device: Device, number: int, *, stop: StopRule, log: Path) -> Any:
        """A new worker."""
        return self._create(config, device, name=f"worker-{number}", stop=stop, log=log)

    def give_back(self, workers: dict[int, Any]) -> None:
        """Ends them."""
        shut_down_workers(list(workers.values()), self.kill)

    def are_up(self) -> bool:
        """Never before the run."""
        return False


class KeptEngines:
    """Engines that stay, with their model loaded, until they are closed or a run fails on them.

    The first run starts them. A run that is stopped leaves them up; what it had in flight is dropped.

    Args:
        config: The engine section that they are started with.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.is_closed = False
        self._ray = ExitStack()
        self._devices: list[Device] | None = None
        self._idle: dict[int, Any] = {}

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Runs of this thread within the block take these engines.

        Raises:
            EngineError: they are closed.
        """
        if self.is_closed:
            raise EngineError("this engine is closed", mend="with xpoll.Engine(...) as engine: engine.label(...)")
        token = _LENT.set(self)
        try:
            yield
        finally:
            _LENT.reset(token)

    @contextmanager
    def session(self, config: EngineConfig, *, log: Path) -> Iterator[list[Device]]:
        """Ray, which stays after the block unless that fails; yields the devices.

        Raises:
            ConfigError: the run needs other engines.
            EngineError: other engines are kept in this process, or there are fewer devices than asked for.
        """
        self._take(config)
        with _LOCK, messages_to(log):
            devices = self._devices if self._devices is not None else self._opened()
            try:
                yield devices
            except KeyboardInterrupt:
                raise
            except BaseException:
                self._end()
                raise

    def worker(self, config: EngineConfig, device: Device, number: int, *, stop: StopRule, log: Path) -> Any:
        """The worker that is up on the device, or a new one."""
        idle = self._idle.pop(number, None)
        if idle is None:
            return create_worker(config, device, name=f"worker-{number}", stop=stop, log=log)
        idle.begin.remote(str(log.resolve()), stop=stop, max_in_flight=config.max_in_flight)
        return idle

    def kill(self, worker: Any) -> None:
        """Ends one that died or hangs."""
        kill_worker(worker)

    def give_back(self, workers: dict[int, Any]) -> None:
        """Keeps them for the next run."""
        self._idle.update(workers)

    def are_up(self) -> bool:
        """Whether a run has left any."""
        return bool(self._idle)

    def close(self) -> None:
        """Ends the engines and Ray; waits for a run that another thread has on them."""
        self.is_closed = True
        with _LOCK:
            self._end()

    def _opened(self) -> list[Device]:
        global _kept
        if _kept is not None:
            raise EngineError("another engine is kept in this process", mend="close() that one first")
        self._devices = self._ray.enter_context(running_ray(self.config))
        _kept = self
        return self._devices

    def _end(self) -> None:
        global _kept
        if _kept is not self:
            return
        _kept, self._devices = None, None
        workers, self._idle = list(self._idle.values()), {}
        try:
            shut_down_workers(workers, kill_worker)
        finally:
            self._ray.close()

    def _take(self, config: EngineConfig) -> None:
        if differing := self._differing(config):
            raise ConfigError(
                f"the job needs another engine than the one that is kept; keys that differ: "
                f"{', '.join(f'engine.{key}' for key in differing)}",
                mend="leave the job's engine out, or start one with its options",
            )

    def _differing(self, config: EngineConfig) -> list[str]:
        mine, other = self.config.model_dump(mode="json"), config.model_dump(mode="json")
        return [key for key in {**mine, **other} if key not in OF_A_RUN and mine.get(key) != other.get(key)]


class SharedEngines(KeptEngines):
    """Engines that stay as long as each run needs the same as the one before it; one that needs others ends them."""

    def _take(self, config: EngineConfig) -> None:
        if self._differing(config):
            with _LOCK:
                self._end()
            self.config = config


@contextmanager
def shared_engines(config: EngineConfig) -> Iterator[None]:
    """Runs within the block that need the same engines share them; the block ends them.

    Where engines are lent to this thread already, these stay the ones.

    Args:
        config: The engine section of the first run.
    """
    if _LENT.get() is not None:
        yield
        return
    shared = SharedEngines(config)
    try:
        with shared.lent():
            yield
    finally:
        shared.close()


def engines_for_run() -> Engines:
    """The engines that are lent to this thread, or else such as end with the run."""
    return _LENT.get() or RunEngines()
