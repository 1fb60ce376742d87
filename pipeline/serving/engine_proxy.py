"""Passes requests on to the engine behind a server, streams included."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from xpoll.engine.serve import HOP_BY_HOP
from xpoll.pipeline.serving.request_error import unavailable


class EngineProxy:
    """The engines' address, from within the server.

    Args:
        address: Base URL, without a path.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=2)
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(total=None), auto_decompress=False
        )

    async def close(self) -> None:
        """Closes the connections."""
        await self._session.close()

    async def page(self, path: str) -> str:
        """The body of a small page; empty where there is none within ten seconds."""
        try:
            url, timeout = f"{self.address}{path}", aiohttp.ClientTimeout(total=10)
            async with self._session.get(url, timeout=timeout) as reply:
                return await reply.text() if reply.status == 200 else ""
        except (aiohttp.ClientError, TimeoutError):
            return ""

    async def is_healthy(self) -> bool:
        """Whether an engine says so within ten seconds."""
        try:
            timeout = aiohttp.ClientTimeout(total=10)
            async with self._session.get(f"{self.address}/health", timeout=timeout) as reply:
                return reply.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def passed_on(self, request: Request, body: bytes) -> Response:
        """The engine's response, as it arrives.

        Args:
            request: The request.
            body: Its body, which was read.

        Raises:
            RequestError: the engine does not answer.
        """
        url = f"{self.address}{request.url.path}"
        try:
            reply = await self._session.request(
                request.method,
                f"{url}?{request.url.query}" if request.url.query else url,
                headers=[(name, value) for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP],
                data=body,
            )
        except aiohttp.ClientError as error:
            raise unavailable(f"the engine does not answer: {type(error).__name__}") from error
        headers = {name: value for name, value in reply.headers.items() if name.lower() not in HOP_BY_HOP}
        return StreamingResponse(_pieces(reply), reply.status, headers)


async def _pieces(reply: Any) -> AsyncIterator[bytes]:
    try:
        async for piece in reply.content.iter_any():
            yield piece
    finally:
        reply.close()  # aborts the request in the engine if the client went away
