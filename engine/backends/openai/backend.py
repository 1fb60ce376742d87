"""Any endpoint that speaks OpenAI's chat completions API: vLLM servers, TGI, hosted models.

Texts go to the address that `engine.openai.base_url` names, and only there. The key comes from an
environment variable and is written nowhere. Retries are done here and not by a client library, because a
request that waits for its retry must not occupy a permit.
"""

import asyncio
import json
import os
import time
from dataclasses import replace
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import aiohttp
from pydantic import Field, field_validator

from xpoll.core.config import Section
from xpoll.core.config_file import checked_section
from xpoll.core.errors import ConfigError, EngineError
from xpoll.core.records import Completion, Prompt
from xpoll.engine.backends.backend import BackendSettings, EngineDeadError, Load
from xpoll.engine.backends.openai.chat_api import Offers, completion_fields, error_message, is_too_long, request_body
from xpoll.engine.backends.openai.concurrency import Limit, Permits
from xpoll.engine.backends.openai.retries import (
    HttpResponse,
    TransientError,
    is_overload,
    retry_after_s,
    retry_kind,
    retrying,
)
from xpoll.engine.backends.openai.shared_requests import Outcome, SharedRequests

NOT_ALLOWED = (401, 403)


class OpenAIOptions(Section):
    """`[engine.openai]`."""

    base_url: str
    """Address of the API up to its version, e.g. "http://127.0.0.1:8000/v1"."""
    api_key_env: str = "OPENAI_API_KEY"
    """Name of the environment variable that holds the key; endpoints that need none are asked without it."""
    request_timeout_s: Annotated[float, Field(gt=0)] = 120
    """How long a request may take, in seconds; keep it below engine.hang_timeout_s."""
    max_retries: Annotated[int, Field(ge=0)] = 6
    """How often a request is sent again before its row becomes an error row."""
    first_wait_s: Annotated[float, Field(gt=0)] = 1.0
    """Longest wait before the first retry, in seconds; it doubles each time, up to 60 s."""
    longest_wait_s: Annotated[float, Field(gt=0)] = 300
    """Longest Retry-After, in seconds, that is waited for; a longer one ends the row."""
    max_concurrency: Annotated[int, Field(ge=1)] = 256
    """Most requests at the endpoint; fewer where it shows that it is overloaded."""
    structured_outputs: Literal["auto", "vllm", "response_format", "none"] = "auto"
    """How answers are constrained; `auto` takes vLLM's way where the endpoint says that it is vLLM."""
    n: bool = True
    """Ask for all samples of a text and persona in one request, where the endpoint can."""
    extra_body: dict[str, Any] = {}
    """Added to every request, e.g. {reasoning_effort = "low"}."""

    @field_validator("base_url")
    @classmethod
    def _is_an_address_without_a_secret(cls, base_url: str) -> str:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must begin with http:// or https:// and a host")
        if parts.username or parts.password or parts.query:
            raise ValueError("must hold no user, password or query; the key comes from the variable in api_key_env")
        return base_url.rstrip("/")


class OpenAIBackend:
    """One client of one endpoint.

    Args:
        settings: What the backend starts with.
    """

    def __init__(self, settings: BackendSettings) -> None:
        self._settings = settings

    async def start(self) -> None:
        """Checks that the endpoint serves the model, and which parameters it takes.

        Raises:
            ConfigError: an option is wrong, or the endpoint does not know the model.
            EngineError: the endpoint does not answer, or does not accept the key.
        """
        self._options = checked_section(OpenAIOptions, self._settings.options, "engine.openai")
        self._permits = Permits(Limit(self._options.max_concurrency))
        self._shared = SharedRequests(self._ask_for)
        key = os.environ.get(self._options.api_key_env)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=2),
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=aiohttp.ClientTimeout(total=self._options.request_timeout_s),
            trust_env=True,
        )
        self._loop = asyncio.get_running_loop()
        try:
            await self._check_endpoint()
        except BaseException:
            await self._session.close()
            raise

    async def _check_endpoint(self) -> None:
        listed = await self._send("GET", "/models")
        self._raise_if_unusable(listed)
        found = listed.body.get("data") if listed.status == 200 and isinstance(listed.body, dict) else None
        models = [model for model in found or [] if isinstance(model, dict)]
        name = self._settings.model
        constraint = self._options.structured_outputs
        if constraint == "auto":
            constraint = "vllm" if any(model.get("owned_by") == "vllm" for model in models) else "response_format"
        self._offers = Offers(constraint, n=self._options.n)
        if name in (model.get("id") for model in models):
            return
        # Not every endpoint lists all its models, so request one token.
        message = [{"role": "user", "content": "hello"}]
        tried = await self._send("POST", "/chat/completions", {"model": name, "messages": message, "max_tokens": 1})
        self._raise_if_unusable(tried)
        if tried.status == 404:
            known = ", ".join(str(model.get("id")) for model in models[:5]) or "a model that it serves"
            raise ConfigError(
                f"engine.model: {self._options.base_url} does not serve {name}", mend=f"set engine.model to {known}"
            )

    def _raise_if_unusable(self, reply: HttpResponse) -> None:
        url, variable = self._options.base_url, self._options.api_key_env
        if reply.status == 0:
            raise EngineError(f"{url} does not answer: {reply.body}", mend="set engine.openai.base_url")
        if reply.status in NOT_ALLOWED:
            state = "the key in" if os.environ.get(variable) else "an empty"
            raise EngineError(
                f"{url} does not accept {state} {variable} (HTTP {reply.status})", mend=f"export {variable}=..."
            )

    async def answer(self, prompt: Prompt) -> Completion:
        """The completion of one prompt; a prompt that cannot be answered ends as an error row.

        Raises:
            EngineDeadError: the endpoint does not answer, or refuses all requests.
        """
        started_unix_s = time.time()
        outcome = await self._shared.outcome(prompt)
        return Completion(
            *prompt.key,
            worker=self._settings.worker,
            device=str(self._settings.device),
            started_unix_s=started_unix_s,
            latency_s=time.time() - started_unix_s,
            **outcome,
        )

    async def _ask_for(self, prompt: Prompt, number: int) -> list[Outcome]:
        together = (await self._ask(prompt, number))[:number] if number > 1 and self._offers.n else []
        if 0 < len(together) < number:  # it accepts `n` and returns fewer answers all the same
            self._offers = replace(self._offers, n=False)
        alone = await asyncio.gather(*(self._ask(prompt, 1) for _ in range(number - len(together))))
        return [*together, *(outcomes[0] for outcomes in alone)]

    async def _ask(self, prompt: Prompt, number: int) -> list[Outcome]:
        """One outcome or more; none where the endpoint turns out not to offer `n`."""
        again = retrying(
            max_retries=self._options.max_retries,
            first_wait_s=self._options.first_wait_s,
            longest_wait_s=self._options.longest_wait_s,
            before_wait=self._permits.close_for,
        )
        try:
            return await again(self._ask_once, prompt, number)
        except TransientError as error:
            if error.status == 0:
                raise EngineDeadError(f"{self._options.base_url} does not answer: {error.message}") from error
            return [{"error_kind": error.kind, "error": str(error)}] * number

    async def _ask_once(self, prompt: Prompt, number: int) -> list[Outcome]:
        """The same, of one request, or of several where the endpoint refuses a part of what it is asked.

        Raises:
            TransientError: the request may succeed later.
        """
        while True:
            body = request_body(prompt, model=self._settings.model, offers=self._offers, n=number)
            async with self._permits:
                began_s = time.monotonic()
                reply = await self._send("POST", "/chat/completions", body | self._options.extra_body)
                if reply.status == 200:
                    self._permits.limit.succeeded()
                elif is_overload(reply.status):
                    self._permits.limit.overloaded(began_s)
            if reply.status == 200:
                try:
                    return completion_fields(reply.body, prompt.answer)
                except ValueError as error:
                    reply = HttpResponse(502, str(error))
            message = error_message(reply.body)
            self._raise_if_dead(reply, message)
            if (kind := retry_kind(reply.status)) is not None:
                raise TransientError(kind, reply.status, message, reply.retry_after_s)
            without = self._offers.without(message, body)
            if without is None:
                return [{"error_kind": "context_length" if is_too_long(message) else "refused", "error": message}]
            self._offers = without
            if number > 1 and not without.n:
                return []

    def _raise_if_dead(self, reply: HttpResponse, message: str) -> None:
        """Raises where all further requests would fail in the same way: a later run asks these prompts again."""
        refused = f"{self._options.base_url} refuses all requests (HTTP {reply.status})"
        if reply.status in NOT_ALLOWED:
            raise EngineDeadError(refused)  # without the message, which may show a part of the key
        if reply.status == 404 or "insufficient_quota" in message:
            raise EngineDeadError(f"{refused}: {message}")

    async def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> HttpResponse:
        try:
            async with self._session.request(method, f"{self._options.base_url}{path}", json=body) as reply:
                text = await reply.text(errors="replace")
                wait_s = retry_after_s(reply.headers.get("Retry-After"), time.time())
        except TimeoutError:
            return HttpResponse(408, f"no answer within {self._options.request_timeout_s:g} s")
        except aiohttp.ClientError as error:
            return HttpResponse(0, f"{type(error).__name__}: {error}")
        try:
            return HttpResponse(reply.status, json.loads(text), wait_s)
        except ValueError:
            return HttpResponse(reply.status, text, wait_s)

    def load(self) -> Load | None:
        """None: an endpoint does not report its queue."""
        return None

    def stop(self) -> None:
        """Closes the connections. Any thread may call it."""
        if self._loop.is_running():
            self._loop.call_soon_threadsafe(lambda: self._loop.create_task(self._session.close()))
