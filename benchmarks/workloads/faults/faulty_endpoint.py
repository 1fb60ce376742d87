"""An OpenAI-compatible endpoint on loopback that answers as each text says, and meets faults at requests of a number.

One server has an address of its own for each poll: http://127.0.0.1:PORT/NAME/v1.
"""

import asyncio
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from aiohttp import web

from xpoll.benchmarks.workloads.loopback import served_app

PASSING = ("drop", "stall", "half", "429", "429 with Retry-After", "500", "502 in HTML", "not JSON")
"""What goes by itself; the poll is to end as without it."""
LASTING = ("redirect", "401 that echoes the key", "402", "429 for an hour", "404")
"""What lasts until somebody acts; the poll is to end, and to be resumed then."""
STALL_S = 0.8
LABELS = ("bad", "good", "mixed")


@dataclass(slots=True)
class Trouble:
    """A fault of an endpoint: its kind, and the requests that meet it, counted from 0."""

    kind: str
    first: int
    number: int

    def __str__(self) -> str:
        """In words."""
        return f"{self.kind} at requests {self.first} to {self.first + self.number - 1}"


@dataclass(slots=True)
class Address:
    """What one poll's address has been asked, and what it meets.

    Attributes:
        troubles: Those that are left.
        asked: Number of chat requests.
    """

    troubles: list[Trouble] = field(default_factory=list)
    asked: int = 0

    def trouble_now(self) -> str | None:
        """The kind of trouble that the next request meets."""
        number, self.asked = self.asked, self.asked + 1
        found = (each.kind for each in self.troubles if each.first <= number < each.first + each.number)
        return next(found, None)

    def mend(self) -> None:
        """Ends every trouble."""
        self.troubles.clear()


def draw_trouble(draw: random.Random, *, requests: int) -> Trouble:
    """A trouble somewhere in a poll of about so many requests; one that lasts has no end."""
    first = draw.randrange(requests)
    if draw.random() < 0.3:
        return Trouble(draw.choice(LASTING), first, 10**9)
    return Trouble(draw.choice(PASSING), first, draw.randint(1, 12))


class FaultyEndpoint:
    """The server.

    Attributes:
        addresses: By the name in the address.
    """

    def __init__(self) -> None:
        self.addresses: dict[str, Address] = {}
        self.port = 0

    def url(self, name: str) -> str:
        """The base URL of a poll's own address, which is made here."""
        self.addresses[name] = Address()
        return f"http://127.0.0.1:{self.port}/{name}/v1"

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """One chat request."""
        address = self.addresses[request.match_info["name"]]
        body = await request.json()
        kind = address.trouble_now()
        if kind in ("drop", "half"):
            return await _broken_off(request, kind)
        if kind == "stall":
            await asyncio.sleep(STALL_S)
        if kind not in (None, "stall"):
            return _refused(kind or "", request)
        return web.json_response(_completion(body))

    async def models(self, _request: web.Request) -> web.Response:
        """What is served."""
        return web.json_response({"data": [{"id": "m", "owned_by": "nobody"}]})


def _completion(body: dict[str, Any]) -> dict[str, Any]:
    drawn = blake2b(json.dumps(body["messages"], sort_keys=True).encode(), digest_size=4).digest()
    message = {"role": "assistant", "content": LABELS[drawn[0] % len(LABELS)]}
    choices = [{"index": i, "message": message, "finish_reason": "stop"} for i in range(body.get("n", 1))]
    return {"choices": choices, "usage": {"prompt_tokens": 10, "completion_tokens": len(choices)}}


async def _broken_off(request: web.Request, kind: str) -> web.StreamResponse:
    """Closes the connection, without a word or within the answer."""
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "5000"})
    if kind == "half":
        await response.prepare(request)
        await response.write(b'{"choices": [{"index": 0, "message": {"role": "assistant", "content": "go')
    if request.transport is not None:
        request.transport.close()
    return response


def _refused(kind: str, request: web.Request) -> web.Response:
    said = {"error": {"message": f"{kind}, says the endpoint"}}
    match kind:
        case "redirect":
            return web.Response(status=307, headers={"Location": "http://127.0.0.1:9/elsewhere"})
        case "401 that echoes the key":
            said = {"error": {"message": f"no such key: {request.headers.get('Authorization')}"}}
            return web.json_response(said, status=401, headers={"X-Echo": str(request.headers.get("Authorization"))})
        case "429 with Retry-After":
            return web.json_response(said, status=429, headers={"Retry-After": "0.2"})
        case "429 for an hour":
            return web.json_response(said, status=429, headers={"Retry-After": "3600"})
        case "502 in HTML":
            return web.Response(status=502, text="<html>bad gateway</html>", content_type="text/html")
        case "not JSON":
            return web.Response(status=503, text="}{", content_type="application/json")
        case _:
            return web.json_response(said, status=int(kind))


@contextmanager
def serving() -> Iterator[FaultyEndpoint]:
    """The endpoint for the time of the block, in a thread of its own."""
    endpoint, app = FaultyEndpoint(), web.Application()
    app.router.add_post("/{name}/v1/chat/completions", endpoint.chat)
    app.router.add_get("/{name}/v1/models", endpoint.models)
    with served_app(app) as endpoint.port:
        yield endpoint
