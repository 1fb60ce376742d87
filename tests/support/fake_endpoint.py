"""An OpenAI-compatible endpoint on loopback that answers as a test tells it to."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from xpoll.benchmarks.workloads.loopback import served_app


@dataclass(slots=True)
class Answer:
    """One response: JSON, or `raw` text; after `delay_s` seconds."""

    status: int = 200
    body: Any = None
    raw: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0


Script = Callable[[dict[str, Any], int], Answer]
"""From a request's body and its number, counted from 0, to the response."""


def completion(body: dict[str, Any], *texts: str) -> Answer:
    """A chat completion with these texts, or "good" as often as asked."""
    choices = [
        {"index": i, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        for i, text in enumerate(texts or ["good"] * body.get("n", 1))
    ]
    return Answer(body={"choices": choices, "usage": {"prompt_tokens": 10, "completion_tokens": len(choices)}})


def refusal(status: int, message: str, **headers: str) -> Answer:
    return Answer(status, {"error": {"message": message}}, headers=headers)


@dataclass(slots=True)
class FakeEndpoint:
    """What was asked of it, and how it answers.

    Attributes:
        bodies: Bodies of all chat requests, in their order.
        most_at_once: The most chat requests that it had at a time.
    """

    script: Script
    models: Answer = field(default_factory=lambda: Answer(body={"data": [{"id": "m", "owned_by": "test"}]}))
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    most_at_once: int = 0
    url: str = ""
    _now: int = 0

    async def chat(self, request: web.Request) -> web.Response:
        body = await request.json()
        number = len(self.bodies)
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            return await respond(self.script(body, number))
        finally:
            self._now -= 1

    async def list_models(self, _request: web.Request) -> web.Response:
        return await respond(self.models)


async def respond(answer: Answer) -> web.Response:
    await asyncio.sleep(answer.delay_s)
    text = answer.raw if answer.raw is not None else json.dumps(answer.body)
    return web.Response(status=answer.status, text=text, headers=answer.headers, content_type="application/json")


@contextmanager
def serving(endpoint: FakeEndpoint) -> Iterator[FakeEndpoint]:
    """The endpoint at its `url` for the time of the block, in a thread of its own."""
    app = web.Application()
    app.router.add_post("/v1/chat/completions", endpoint.chat)
    app.router.add_get("/v1/models", endpoint.list_models)
    with served_app(app, handler_cancellation=True, shutdown_timeout=0) as port:
        endpoint.url = f"http://127.0.0.1:{port}/v1"
        yield endpoint
