"""Several simulated devices in one process, each with its own worker and slot.

128 Python processes take minutes to start on two cores and starve those that are ready. The dispatcher sees no
difference: every device still has a handle that takes the same calls.
"""

from itertools import count
from pathlib import Path
from typing import Any

from xpoll.core.config.job import EngineConfig
from xpoll.core.errors import UserError
from xpoll.engine.backends.backend import BackendSettings
from xpoll.engine.devices.find import Device
from xpoll.engine.work import StopRule, WorkerReply
from xpoll.engine.worker import Worker


class Host:
    """A Ray actor that holds the workers of several devices."""

    def __init__(self) -> None:
        self._workers: dict[int, Worker] = {}

    async def start(self, key: int, arguments: dict[str, Any]) -> UserError | None:
        """Creates and starts a worker in one call: Ray may reorder the calls to an asyncio actor.

        Args:
            key: The worker's key in this host.
            arguments: Arguments of `Worker`.
        """
        self._workers[key] = Worker(**arguments)
        return await self._workers[key].start()

    async def exchange(self, key: int, *arguments: Any) -> WorkerReply:
        """As `Worker.exchange`."""
        return await self._workers[key].exchange(*arguments)

    async def stop(self, key: int) -> None:
        """As `Worker.stop`."""
        if key in self._workers:
            await self._workers[key].stop()

    async def kill(self, key: int) -> None:
        """Drops a worker."""
        self._workers.pop(key, None)


class Call:
    """A remote method of one worker in a host.

    Args:
        method: Remote method of the host.
        first: Its leading arguments.
    """

    def __init__(self, method: Any, *first: Any) -> None:
        self._method, self._first = method, first

    def remote(self, *arguments: Any) -> Any:
        """Calls the method; returns Ray's reference of the result."""
        return self._method.remote(*self._first, *arguments)


class HostedWorker:
    """The handle of one worker in a host, with the methods of the handle of a `WorkerActor`.

    Args:
        host: Ray handle of the host.
        key: The worker's key in the host.
        arguments: Arguments of `Worker`.
    """

    def __init__(self, host: Any, key: int, arguments: dict[str, Any]) -> None:
        self.start, self.exchange = Call(host.start, key, arguments), Call(host.exchange, key)
        self.stop, self.kill = Call(host.stop, key), Call(host.kill, key)


class Hosts:
    """Creates and kills workers as engine.cluster does, several per process.

    Args:
        per_process: Number of devices per process.
    """

    def __init__(self, per_process: int) -> None:
        self._per_process = per_process
        self._hosts: dict[int, Any] = {}
        self._keys = count()

    def create(self, config: EngineConfig, device: Device, *, name: str, stop: StopRule, log: Path) -> HostedWorker:
        """As `create_worker`."""
        import ray

        number = device.index // self._per_process
        if number not in self._hosts:
            self._hosts[number] = ray.remote(Host).options(num_cpus=0, max_restarts=0).remote()
        return HostedWorker(
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

    def kill(self, worker: HostedWorker) -> None:
        """As `kill_worker`; the process stays for its other devices."""
        worker.kill.remote()
