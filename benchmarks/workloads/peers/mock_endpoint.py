"""A deterministic OpenAI-compatible endpoint on loopback: what a client costs by itself, and what it does in trouble.

An answer depends on the messages and its number alone, holds to the constraint of the request, and takes a set time;
the endpoint counts what it delivered. It can refuse a text that is too long, and go away for some seconds.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any

from aiohttp import web

from xpoll.benchmarks.workloads.loopback import served_app

MODEL = "mock"
CONTEXT_CHARACTERS = 30_000


class MockEndpoint:
    """The endpoint.

    Attributes:
        url: Its address up to the version.
        delivered: Answers that a client took, by the last message of their row.
        requests: Chat requests so far.

    Args:
        delay_s: Seconds that an answer takes.
    """

    def __init__(self, delay_s: float) -> None:
        self.url = ""
        self.delivered: Counter[str] = Counter()
        self.requests = 0
        self._delay_s = delay_s
        self._away_until_s = 0.0
        self._away_at: int | None = None
        self._away_s = 0.0

    def go_away(self, *, at_request: int, for_s: float) -> None:
        """Has the endpoint drop every connection from a request on, and refuse new ones for a time.

        Args:
            at_request: Number of chat requests, counted from now, behind which it goes away.
            for_s: How long, in seconds.
        """
        self._away_at, self._away_s = self.requests + at_request, for_s

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """One chat request."""
        body = await request.json()
        self.requests += 1
        if self._away_at is not None and self.requests > self._away_at:
            self._away_until_s, self._away_at = time.monotonic() + self._away_s, None
        if self._is_away():
            return _closed(request)
        asked = _words(body["messages"][-1]["content"])
        if len(asked) > CONTEXT_CHARACTERS:
            return web.json_response(_too_long(len(asked)), status=400)
        await asyncio.sleep(self._delay_s)
        if self._is_away():  # the engine died with the request in flight
            return _closed(request)
        samples = int(body.get("n") or 1)
        response = web.json_response(_completion(body, samples))
        await response.prepare(request)
        await response.write_eof()
        self.delivered[asked] += samples
        return response

    async def models(self, _request: web.Request) -> web.Response:
        """What is served."""
        return web.json_response({"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "nobody"}]})

    @property
    def has_been_away(self) -> bool:
        """Whether it went away."""
        return self._away_until_s > 0

    def _is_away(self) -> bool:
        return time.monotonic() < self._away_until_s


def _closed(request: web.Request) -> web.StreamResponse:
    """Closes the connection without a word."""
    if request.transport is not None:
        request.transport.close()
    return web.Response()


def _words(content: str | list[dict[str, Any]]) -> str:
    """The text of a message, which OpenAI's form may hold in parts."""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def _too_long(characters: int) -> dict[str, Any]:
    what = f"This model's maximum context length is 8192 tokens. However, your request has {characters} characters."
    return {"error": {"message": what, "type": "BadRequestError", "code": 400}}


def _completion(body: dict[str, Any], samples: int) -> dict[str, Any]:
    messages = "\n".join(_words(message["content"]) for message in body["messages"])
    choices = [
        {
            "index": number,
            "message": {"role": "assistant", "content": _text(body, f"{messages}{number}")},
            "finish_reason": "stop",
        }
        for number in range(samples)
    ]
    usage = {"prompt_tokens": len(messages) // 4, "completion_tokens": 20 * samples}
    usage["total_tokens"] = sum(usage.values())
    return {
        "id": "chatcmpl-mock",
        "object": "chat.completion",
        "created": 0,
        "model": MODEL,
        "choices": choices,
        "usage": usage,
    }


def _text(body: dict[str, Any], of: str) -> str:
    """An answer within the request's constraint, drawn from a text."""
    schema, choices = _constraint(body)
    if schema is not None:
        schema = schema.get("schema", schema)
    properties = (schema or {}).get("properties", {})
    choices = choices or properties.get("label", schema or {}).get("enum") or ["neutral"]
    drawn = blake2b(of.encode(), digest_size=4).digest()
    label = str(choices[int.from_bytes(drawn, "big") % len(choices)])
    return json.dumps({"reason": "It says so.", "label": label}) if properties else label


def _constraint(body: dict[str, Any]) -> tuple[dict[str, Any] | None, list[str]]:
    """Schema and choices of a request, in vLLM's form or OpenAI's."""
    structured = body.get("structured_outputs") or {}
    if structured:
        schema = structured.get("json")
        return (json.loads(schema) if isinstance(schema, str) else schema), structured.get("choice") or []
    response_format = body.get("response_format") or {}
    return response_format.get("json_schema"), []


@contextmanager
def serving_mock(delay_s: float) -> Iterator[MockEndpoint]:
    """The endpoint for the time of the block."""
    endpoint, app = MockEndpoint(delay_s), web.Application(client_max_size=2**26)
    app.router.add_post("/v1/chat/completions", endpoint.chat)
    app.router.add_get("/v1/models", endpoint.models)
    with served_app(app, handler_cancellation=True, shutdown_timeout=0) as port:
        endpoint.url = f"http://127.0.0.1:{port}/v1"
        yield endpoint
