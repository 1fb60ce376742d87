"""Listens until Ctrl-C or SIGTERM, then lets requests that have begun be answered."""

import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from xpoll.core.errors import EngineError

DRAIN_S = 30
"""How long requests that have begun may take once the server is to end."""


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that holds the address from now on, so that a taken one is found before anything starts.

    Args:
        host: Address.
        port: Port; 0 takes a free one.

    Raises:
        EngineError: the address is taken, or is none of this machine's.
    """
    try:
        return socket.create_server((host, port), backlog=2048)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        raise EngineError(f"cannot listen on {host}:{port}: {why}", mend="--port 8001") from error


class _Server(uvicorn.Server):
    """Ends in order at a signal, instead of raising the signal anew when it has ended."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


async def serve_app(app: Any, listening: socket.socket, *, log: Path, ready: Callable[[], None]) -> None:
    """Serves until a signal; a second one does not wait for requests.

    Args:
        app: The application.
        listening: Where.
        log: File that gets the server's own messages.
        ready: Called when it answers.
    """
    logger = logging.getLogger("uvicorn")
    handler = logging.FileHandler(log)
    logger.addHandler(handler)
    logger.propagate = False
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=DRAIN_S,
    )
    try:
        await _Server(config, ready).serve(sockets=[listening])
    finally:
        logger.removeHandler(handler)
        handler.close()
