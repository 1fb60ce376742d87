"""Listens until Ctrl-C or SIGTERM, then lets requests that have begun be answered."""

import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from xpoll.core.errors import EngineError
from xpoll.core.progress import leave_terminal
from xpoll.engine.interrupt import handled_by

MOST_CONNECTIONS = 1024
"""Connections and requests at a time; more are told to come back (503), so that their bodies cannot fill the memory."""
DRAIN_S = 30
"""How long requests that have begun may take once the server is to end."""


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket that has the address, so that a taken one is found before anything starts; it listens once it is served.

    Args:
        host: Address.
        port: Port; 0 takes a free one.

    Raises:
        EngineError: the address is taken, or is none of this machine's.
    """
    # asyncio sends small answers at once (TCP_NODELAY) only on sockets that name their protocol; else each waits 40 ms.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
    except (OSError, OverflowError) as error:
        made.close()
        number = error.errno if isinstance(error, OSError) and error.errno and error.errno > 0 else 0
        why = os.strerror(number) if number else str(error)
        raise EngineError(f"cannot listen on {host}:{port}: {why}", mend="--port 8001") from error
    return made


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
        def ended(number: int, frame: FrameType | None) -> None:
            if number == signal.SIGHUP:
                leave_terminal()
            self.handle_exit(number, frame)

        with handled_by(ended):
            yield


async def serve_app(app: Any, bound: socket.socket, *, log: Path, ready: Callable[[], None]) -> None:
    """Serves until a signal; a second one does not wait for requests.

    Args:
        app: The application.
        bound: Where.
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
        limit_concurrency=MOST_CONNECTIONS,
    )
    try:
        await _Server(config, ready).serve(sockets=[bound])
    finally:
        logger.removeHandler(handler)
        handler.close()
