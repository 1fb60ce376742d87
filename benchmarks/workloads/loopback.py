"""An aiohttp application on a free port of loopback, in a thread of its own."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web


@contextmanager
def served_app(app: web.Application, **options: Any) -> Iterator[int]:
    """The port of an application, for the time of the block.

    Args:
        app: The application.
        **options: Further ones of AppRunner.
    """
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(app, access_log=None, **options)

    async def begin() -> int:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port: int = runner.addresses[0][1]
        return port

    port = loop.run_until_complete(begin())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield port
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
