"""Several simulated devices in one process, each with a worker and a seat of its own.

128 Python processes start for minutes on two cores and starve those that are ready; the dispatcher
cannot tell, because every device still has a handle that takes the same three calls.
"""

from itertools import count
from pathlib import Path
from typing import Any

from xpoll.core.config import EngineConfig
from xpoll.engine.backends.backend import BackendSettings
from xpoll.engine.devices.find import Device
from xpoll.engine.work import StopRule, WorkerReply
from xpoll.engine.worker import Worker


class Host:
    """A Ray actor that holds the workers of several devices."""

    def __init__(self) -> None:
        self._workers: dict[int, Worker] = {}

    async def start(self, key: int, begin: dict[str, Any]) -> str | None:
        """Makes the worker, too: Ray may run calls to an actor of coroutines in another order than they were made."""
        self._workers[key] = Worker(**begin)
        return await self._workers[key].start()

    async def exchange(self, key: int, *arguments: Any) -> WorkerReply:
        return await self._workers[key].exchange(*arguments)

    async def stop(self, key: int) -> None:
        if key in self._workers:
            await self._workers[key].stop()

    async def end(self, key: int) -> None:
        self._workers.pop(key, None)


class Call:
    """A method of one worker in a host."""

    def __init__(self, method: Any, *first: Any) -> None:
        self._method, self._first = method, first

    def remote(self, *arguments: Any) -> Any:
        return self._method.remote(*self._first, *arguments)


class Tenant:
    """The handle of one worker in a host; takes the calls that a worker's own handle takes."""

    def __init__(self, host: Any, key: int, begin: dict[str, Any]) -> None:
        self.start, self.exchange = Call(host.start, key, begin), Call(host.exchange, key)
        self.stop, self.end = Call(host.stop, key), Call(host.end, key)


class Hosts:
    """Begins and ends workers as engine.cluster does, some to a process.

    Args:
        per_process: How many devices share one.
    """

    def __init__(self, per_process: int) -> None:
        self._per_process = per_process
        self._hosts: dict[int, Any] = {}
        self._keys = count()

    def begin(self, config: EngineConfig, device: Device, *, name: str, stop: StopRule, log: Path) -> Tenant:
        """As `begin_worker`."""
        import ray

        number = device.index // self._per_process
        if number not in self._hosts:
            self._hosts[number] = ray.remote(Host).options(num_cpus=0, max_restarts=0).remote()
        return Tenant(
            self._hosts[number],
            next(self._keys),
            {
                "backend": config.backend,
                "settings": BackendSettings(config.model, device, name, config.backend_options),
                "log": str(log.resolve()),
                "stop": stop,
                "max_in_flight": config.max_in_flight,
            },
        )

    def end(self, worker: Tenant) -> None:
        """As `end_worker`; the process stays for its other devices."""
        worker.end.remote()
