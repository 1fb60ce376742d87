"""An endpoint as an HTTP client sees it: is it there, does it take the key, does it answer anybody?"""

import asyncio
import json
import time
from typing import Any

import aiohttp

from xpoll.core.errors import EngineError, UnavailableError
from xpoll.engine.backends.openai.address import is_this_machine, key_in
from xpoll.engine.backends.openai.chat_api import error_message, failure_of, is_out_of_credit
from xpoll.engine.backends.openai.options import OpenAIOptions
from xpoll.engine.backends.openai.retries import HttpResponse, retry_after_s

NOT_ALLOWED = (401, 403)
NOT_THERE = frozenset({0, 408, 502, 503, 504})
"""Statuses of an endpoint that is not up yet."""
START_WAIT_S = 60.0
"""How long a start waits for an endpoint, in seconds; engine.openai.longest_wait_s where that is less."""
PROBED_FOR_S = 5.0
"""How long, in seconds, the outcome of a request without a text counts for other prompts."""
HELLO = [{"role": "user", "content": "hello"}]
"""Messages that hold no text of a job."""


class Endpoint:
    """One address, asked with one key. Made inside of the event loop that uses it.

    Attributes:
        url: Its base URL.

    Args:
        options: `[engine.openai]`.
        model: Name of the model there.

    Raises:
        ConfigError: the key cannot be sent.
    """

    def __init__(self, options: OpenAIOptions, model: str) -> None:
        self.url = options.base_url
        self._options, self._model = options, model
        self._probing = asyncio.Lock()
        self._probed: tuple[float, bool] | None = None
        self._has_key = bool(key := key_in(options.api_key_env))
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=2),
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=aiohttp.ClientTimeout(total=options.request_timeout_s),
            trust_env=not is_this_machine(options.base_url),
        )

    async def close(self) -> None:
        """Closes the connections."""
        await self._session.close()

    async def send(self, method: str, path: str, body: dict[str, Any] | None = None) -> HttpResponse:
        """The response to one request; status 0 if the endpoint is not there, 408 if it took too long.

        Raises:
            EngineError: it redirects; no text follows.
        """
        url = f"{self.url}{path}"
        try:
            async with self._session.request(method, url, json=body, allow_redirects=False) as reply:
                text = await reply.text(errors="replace")
                wait_s = retry_after_s(reply.headers.get("Retry-After"), time.time())
        except TimeoutError:
            return HttpResponse(408, f"no answer within {self._options.request_timeout_s:g} s")
        except (aiohttp.ClientError, OSError, UnicodeError) as error:
            return HttpResponse(0, f"{type(error).__name__}: {error}")
        if 300 <= reply.status < 400:
            raise EngineError(
                f"{url} redirects to {reply.headers.get('Location', 'nowhere')} (HTTP {reply.status}); no text follows",
                mend="set engine.openai.base_url to the address itself",
            )
        try:
            return HttpResponse(reply.status, json.loads(text), wait_s)
        except (ValueError, RecursionError):
            return HttpResponse(reply.status, text, wait_s)

    async def reached(self, method: str, path: str, body: dict[str, Any] | None = None) -> HttpResponse:
        """The response of an endpoint that may not be up yet.

        Raises:
            UnavailableError: it is not there within START_WAIT_S.
        """
        wait_s, until_s = self._options.first_wait_s, time.monotonic() + min(START_WAIT_S, self._options.longest_wait_s)
        reply = await self.send(method, path, body)
        while reply.status in NOT_THERE and time.monotonic() + wait_s < until_s:
            await asyncio.sleep(wait_s)
            wait_s *= 2
            reply = await self.send(method, path, body)
        if reply.status in (0, 408):
            raise self.away(error_message(reply.body))
        return reply

    def away(self, why: str) -> UnavailableError:
        """The error for an endpoint that is not there, to raise."""
        return UnavailableError(
            f"{self.url} does not answer: {why}",
            mend="start it, or set engine.openai.base_url; the same command resumes from the answers kept",
        )

    def hello(self) -> dict[str, Any]:
        """A request for one token that holds no text of the job."""
        return {"model": self._model, "messages": HELLO, "max_tokens": 1}

    def raise_if_unusable(self, reply: HttpResponse) -> None:
        """Raises if a response says that no request is answered.

        Raises:
            EngineError: the key is not accepted.
            UnavailableError: the account is out of credit.
        """
        url, variable = self.url, self._options.api_key_env
        if reply.status in NOT_ALLOWED:
            state = "the key in" if self._has_key else "an empty"
            # Without the message, which may show a part of the key.
            raise EngineError(
                f"{url} does not accept {state} {variable} (HTTP {reply.status})", mend=f"export {variable}=..."
            )
        self.raise_if_out_of_credit(reply)

    def raise_if_out_of_credit(self, reply: HttpResponse) -> None:
        """Raises UnavailableError if a response says that the account is out of credit."""
        if is_out_of_credit(reply.status, reply.body):
            raise UnavailableError(
                f"{self.url} wants payment (HTTP {reply.status}): {error_message(reply.body)}",
                mend="add credit; the same command resumes from the answers kept",
            )

    async def answers_hello(self) -> bool:
        """Whether it answers a request that holds no text of the job; asked once for all that ask together."""
        async with self._probing:
            if self._probed is None or time.monotonic() - self._probed[0] > PROBED_FOR_S:
                reply = await self.send("POST", "/chat/completions", self.hello())
                # A refusal is an answer, too: it may be about the one token.
                answers = reply.status in (200, 400, 422) and failure_of(reply.body) is None
                self._probed = time.monotonic(), answers
            return self._probed[1]
