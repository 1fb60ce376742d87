"""One vLLM server per device behind one OpenAI-compatible address; Ray Serve routes and restarts.

Each replica of one Ray Serve deployment owns a device and the server that is pinned to it, and proxies
requests, streams included. Everything ends with the process that opened the block.
"""

import asyncio
import fcntl
import logging
import os
import socket
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from xpoll.core.config.job import EngineConfig
from xpoll.core.errors import EngineError
from xpoll.core.machine.processes import guard_children
from xpoll.core.models import resolve_model
from xpoll.core.progress import Waiting
from xpoll.core.run_folder import check_writable
from xpoll.engine.backends.vllm.command import serve_command
from xpoll.engine.backends.vllm.server import server_options
from xpoll.engine.backends.vllm.server_process import VllmServer, given_key
from xpoll.engine.backends.vllm.xpu import prepare_xpu
from xpoll.engine.cluster import ray_session
from xpoll.engine.devices.find import Device, describe, pinning
from xpoll.engine.failures import last_error
from xpoll.engine.local_ray import serve_on_loopback

# Headers of one connection, which a proxy does not forward.
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "upgrade", "te", "trailer", "content-length", "host"}


class Replica:
    """A replica of the deployment: one vLLM server on one device.

    Args:
        command: Command that starts a vLLM server.
        model: Folder or hub name of the model, for the server.
        name: Name of the model in requests.
        options: [engine.vllm].
        devices: All devices; the replica takes a free one.
        locks: Folder of the lock files by which replicas claim devices.
        log: File that gets the server's output.
        on_loopback: Whether Ray Serve's own server in this replica must be reached from this machine only.
    """

    async def __init__(  # type: ignore[misc]  # Ray Serve awaits it
        self,
        command: Sequence[str],
        model: str,
        name: str,
        options: Mapping[str, Any],
        devices: Sequence[Device],
        locks: str,
        log: str,
        *,
        on_loopback: bool,
    ) -> None:
        import aiohttp

        if on_loopback:
            serve_on_loopback()
        guard_children()
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._device, self._lock = await _free_device(devices, Path(locks))
        prepare_xpu(self._device)
        self._server = VllmServer(
            command,
            model,
            name,
            {**server_options(self._device), **options},
            environment=pinning(self._device),
            output=output,
        )
        await self._server.start()
        # Where the job or $VLLM_API_KEY gives the servers a key, clients send it; the key of a server's own stays here.
        has_key = given_key(options) is not None
        self._own_headers = [] if has_key else list(self._server.headers.items())
        self._not_passed = HOP_BY_HOP if has_key else HOP_BY_HOP | {"authorization"}
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=2)
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(total=None), auto_decompress=False
        )

    async def __call__(self, request: Any) -> Any:
        """Proxies a request; the response is streamed as it arrives."""
        from starlette.responses import StreamingResponse

        url = f"{self._server.address}{request.url.path}"
        asked = [(name, value) for name, value in request.headers.items() if name.lower() not in self._not_passed]
        passed = await self._session.request(
            request.method,
            f"{url}?{request.url.query}" if request.url.query else url,
            headers=[*asked, *self._own_headers],
            data=await request.body(),
        )

        async def pieces() -> AsyncIterator[bytes]:
            try:
                async for piece in passed.content.iter_any():
                    yield piece
            finally:
                passed.close()  # aborts the request in the engine if the client went away

        headers = {name: value for name, value in passed.headers.items() if name.lower() not in HOP_BY_HOP}
        return StreamingResponse(pieces(), passed.status, {**headers, "x-xpoll-device": str(self._device)})

    def check_health(self) -> None:
        """Called by Ray Serve every few seconds, which replaces the replica on an error.

        Raises:
            RuntimeError: the server has ended.
        """
        if (why := self._server.exit_reason()) is not None:
            raise RuntimeError(f"the vLLM server on {self._device} is gone: {why}")

    def __del__(self) -> None:
        if hasattr(self, "_server"):
            self._server.stop()


async def _free_device(devices: Sequence[Device], locks: Path) -> tuple[Device, int]:
    """The first device that no living replica holds, and its lock, which the kernel releases with the process."""
    while True:
        for device in devices:
            lock = os.open(locks / f"{device.kind}-{device.index}", os.O_RDWR | os.O_CREAT)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
            else:
                return device, lock
        await asyncio.sleep(0.2)


def _check_free(host: str, port: int) -> None:
    try:
        with socket.create_server((host, port)):
            pass
    except OSError as error:
        raise EngineError(
            f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}", mend="--port 8001"
        ) from error


@contextmanager
def serving(
    config: EngineConfig, *, host: str, port: int, log: Path, name: str | None = None
) -> Iterator[list[Device]]:
    """One server per device, reachable at http://host:port for the duration of the block.

    Args:
        config: The engine section.
        host: Address to listen on.
        port: Port to listen on.
        log: File that gets the servers' output and Ray's messages.
        name: Name of the model in requests; without it `engine.model`.

    Yields:
        The devices, once all servers are ready.

    Raises:
        EngineError: a server does not start, or the address is taken.
        ModelError: there is no such model.
    """
    model = resolve_model(config.model, key="engine.model")
    _check_free(host, port)
    check_writable(log.parent)
    log.touch()
    logged = log.stat().st_size
    with ray_session(config, log=log) as devices, TemporaryDirectory(prefix="xpoll-serve-") as locks:
        from ray import serve

        logging.getLogger("ray.serve").setLevel(logging.WARNING)
        quiet = {"log_level": "WARNING", "enable_access_log": False}
        on_cpu = devices[0].kind == "cpu"
        deployment = serve.deployment(
            name="vllm",
            num_replicas=len(devices),
            max_ongoing_requests=config.max_in_flight,
            max_constructor_retry_count=1,
            health_check_period_s=2,
            graceful_shutdown_timeout_s=5,
            ray_actor_options={
                "num_cpus": len(devices[0].cores) if on_cpu else 1,
                "num_gpus": 0 if on_cpu else devices[0].parallel,
            },
            logging_config=quiet,
        )(Replica)
        try:
            with Waiting(f"starting {len(devices)} x vLLM with {config.model} on {describe(devices)}", usual_s=45):
                serve.start(proxy_location="HeadOnly", http_options={"host": host, "port": port}, logging_config=quiet)
                try:
                    command = config.server_command or serve_command()
                    replica = deployment.bind(
                        command,
                        model,
                        name or config.model,
                        config.table("vllm"),
                        devices,
                        locks,
                        str(log.resolve()),
                        on_loopback=not config.address,
                    )
                    serve.run(replica, logging_config=quiet)
                except RuntimeError as error:
                    with log.open(encoding="utf-8", errors="replace") as file:
                        file.seek(logged)
                        why = last_error(file.read().splitlines()) or last_error(str(error).splitlines())
                    raise EngineError(
                        f"the vLLM server of {config.model} did not start: {why}", mend=f"see {log}"
                    ) from error
            yield devices
        finally:
            serve.shutdown()
