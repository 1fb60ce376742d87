"""What a client can make a server hold in memory is bounded: bodies, also those for the engine, and connections."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from starlette.responses import PlainTextResponse

from xpoll.pipeline.serving import app, server
from xpoll.pipeline.serving.app import Served, make_app
from xpoll.pipeline.serving.metrics import ServingMetrics


class Engine:
    """Counts what reaches it."""

    def __init__(self) -> None:
        self.bodies: list[int] = []

    async def passed_on(self, request: Any, body: bytes) -> PlainTextResponse:
        self.bodies.append(len(body))
        return PlainTextResponse("passed on")


async def status_of(application: Any, pieces: Iterator[bytes]) -> int:
    """The status of a POST whose body arrives in pieces."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        piece = next(pieces, None)
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/chat/completions",
        "raw_path": b"/v1/chat/completions",
        "query_string": b"",
        "headers": [],
        "root_path": "",
    }
    await application(scope, receive, send)
    return int(sent[0]["status"])


def test_a_body_for_the_engine_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "LARGEST_BODY_BYTES", 1000)
    engine = Engine()
    application = make_app(Served("m", None, None, ServingMetrics("m"), engine=engine))  # type: ignore[arg-type]
    given = iter([b"x" * 100] * 10_000)
    assert asyncio.run(status_of(application, given)) == 413
    assert (engine.bodies, len(list(given)) > 9_000) == ([], True), "the rest of the body is not read"
    assert asyncio.run(status_of(application, iter([b"x" * 1000]))) == 200
    assert engine.bodies == [1000]


def test_connections_at_a_time_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 3)

    async def ask(bound: socket.socket) -> list[int]:
        address = f"http://127.0.0.1:{bound.getsockname()[1]}/"
        ready, release, begun = asyncio.Event(), asyncio.Event(), asyncio.Semaphore(0)

        async def slow(scope: Any, receive: Any, send: Any) -> None:
            begun.release()
            await release.wait()
            await PlainTextResponse("done")(scope, receive, send)

        served = asyncio.create_task(server.serve_app(slow, bound, log=tmp_path / "log", ready=ready.set))
        await ready.wait()
        async with aiohttp.ClientSession() as session:

            async def status() -> int:
                async with session.get(address) as reply:
                    return reply.status

            first = [asyncio.create_task(status()) for _ in range(2)]
            for _ in first:
                await begun.acquire()
            refused = await status()
            release.set()
            statuses = [*await asyncio.gather(*first), refused]
        served.cancel()
        await asyncio.gather(served, return_exceptions=True)
        return statuses

    with server.bound_socket("127.0.0.1", 0) as bound:
        assert asyncio.run(asyncio.wait_for(ask(bound), 30)) == [200, 200, 503]
