"""Any endpoint that speaks OpenAI's chat completions API: vLLM servers, TGI, hosted models.

Texts go to the address that `engine.openai.base_url` names, and only there: no redirect is followed, and loopback is
asked without a proxy. The key comes from an environment variable and is written nowhere. Retries are done here and not
by a client library, because a request that waits for its retry must not occupy a permit.

What the endpoint says of itself (no credit, a limit for the day, not there) ends the run, which the same command
resumes; what it says of one text is that row's error. Which it is, a request without any text of the job tells.
"""

import asyncio
import json
import time
from dataclasses import replace
from typing import Any

from xpoll.core.config.file import checked_section
from xpoll.core.errors import ConfigError, EngineError, UnavailableError
from xpoll.core.records import Completion, Prompt
from xpoll.engine.backends.backend import BackendSettings, Load
from xpoll.engine.backends.openai.chat_api import (
    MalformedError,
    Offers,
    completion_fields,
    error_message,
    failure_of,
    is_too_long,
    request_body,
)
from xpoll.engine.backends.openai.concurrency import Limit, Permits
from xpoll.engine.backends.openai.endpoint import HELLO, NOT_ALLOWED, Endpoint
from xpoll.engine.backends.openai.options import OpenAIOptions
from xpoll.engine.backends.openai.retries import HttpResponse, TransientError, is_overload, retry_kind, retrying
from xpoll.engine.backends.openai.shared_requests import Outcome, SharedRequests


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
            EngineError: the endpoint does not accept the key, or redirects.
            UnavailableError: the endpoint does not answer, or wants payment.
        """
        self._options = checked_section(OpenAIOptions, self._settings.options, "engine.openai")
        self._permits = Permits(Limit(self._options.max_concurrency))
        self._shared = SharedRequests(self._ask_for)
        self._learning = asyncio.Lock()
        self._taken: set[str] = set()
        self._refused: dict[str, str] = {}
        self._endpoint = Endpoint(self._options, self._settings.model)
        self._loop = asyncio.get_running_loop()
        try:
            await self._check_endpoint()
        except BaseException:
            await self._endpoint.close()
            raise

    async def _check_endpoint(self) -> None:
        listed = await self._endpoint.reached("GET", "/models")
        self._endpoint.raise_if_unusable(listed)
        found = listed.body.get("data") if listed.status == 200 and isinstance(listed.body, dict) else None
        models = [model for model in (found if isinstance(found, list) else []) if isinstance(model, dict)]
        name = self._settings.model
        constraint = self._options.structured_outputs
        if constraint == "auto":
            constraint = "vllm" if any(model.get("owned_by") == "vllm" for model in models) else "response_format"
        self._offers = Offers(constraint, n=self._options.n)
        if name in (model.get("id") for model in models):
            return
        # Not every endpoint lists all its models, so request one token.
        tried = await self._endpoint.reached("POST", "/chat/completions", self._endpoint.hello())
        self._endpoint.raise_if_unusable(tried)
        if tried.status == 404 and listed.status == 404:
            await self._raise_if_below()
        if tried.status == 404:
            known = ", ".join(str(model.get("id")) for model in models[:5]) or "a model that it serves"
            raise ConfigError(
                f"engine.model: {self._endpoint.url} does not serve {name}", mend=f"set engine.model to {known}"
            )

    async def _raise_if_below(self) -> None:
        """Raises if the API is one step below the address, as where it lacks its version."""
        below = await self._endpoint.send("GET", "/v1/models")
        if below.status != 404:
            url = self._endpoint.url
            raise EngineError(
                f"engine.openai.base_url: nothing is at {url}/models and {url}/chat/completions (HTTP 404)",
                mend=f"set engine.openai.base_url = {url}/v1",
            )

    async def answer(self, prompt: Prompt) -> Completion:
        """The completion of one prompt; a prompt that cannot be answered ends as an error row.

        Raises:
            EngineError: the endpoint refuses all requests, or redirects.
            UnavailableError: the endpoint does not answer, limits all requests, or wants payment.
        """
        end = self._settings.ending(prompt)
        return end(**await self._shared.outcome(prompt))

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
            await self._raise_if_of_all(error)
            return [{"error_kind": error.kind, "error": str(error)}] * number

    async def _raise_if_of_all(self, error: TransientError) -> None:
        """Raises if what did not pass is the endpoint's state; it is the row's own if another request is answered."""
        url = self._endpoint.url
        if error.status == 0:
            raise self._endpoint.away(error.message) from error
        if error.retry_after_s > self._options.longest_wait_s:
            what = f"{url} asks to wait {error.retry_after_s:.0f} s (HTTP {error.status}): {error.message}"
        elif await self._endpoint.answers_hello():
            return
        else:
            what = f"{url} answers no request any more ({error})"
        raise UnavailableError(what, mend="later, the same command resumes from the answers kept") from error

    async def _ask_once(self, prompt: Prompt, number: int) -> list[Outcome]:
        """The same, of one request, or of several where the endpoint refuses a part of what it is asked.

        Raises:
            TransientError: the request may succeed later.
        """
        while True:
            if (unmet := self._offers.unmet(prompt)) is not None:
                return [{"error_kind": "refused", "error": unmet}] * number
            offers = self._offers
            body = request_body(prompt, model=self._settings.model, offers=offers, n=number) | self._options.extra_body
            async with self._permits:
                began_s = time.monotonic()
                reply = await self._endpoint.send("POST", "/chat/completions", body)
                if reply.status == 200:
                    self._permits.limit.succeeded()
                elif is_overload(reply.status):
                    self._permits.limit.overloaded(began_s)
            if reply.status == 200 and (failure := failure_of(reply.body)) is not None:
                reply = HttpResponse(*failure, reply.retry_after_s)
            if reply.status == 200:
                if isinstance(reply.body, str) and reply.body.lstrip().startswith(("data:", "event:")):
                    why = "the endpoint streams its answer (text/event-stream), which it was not asked to"
                    return [{"error_kind": "malformed", "error": why}] * number
                try:
                    return completion_fields(reply.body, prompt.answer)
                except MalformedError as error:
                    return [{"error_kind": "malformed", "error": str(error)}] * number
                except ValueError as error:
                    reply = HttpResponse(502, str(error))
            message = error_message(reply.body)
            self._endpoint.raise_if_out_of_credit(reply)
            if (kind := retry_kind(reply.status)) is not None:
                raise TransientError(kind, reply.status, message, reply.retry_after_s)
            await self._raise_if_refuses_all(reply, message)
            if is_too_long(message):
                return [{"error_kind": "context_length", "error": message}] * number
            if (problem := await self._refused_without_text(body, offers)) is not None:
                return [{"error_kind": "parameter", "error": problem}] * number
            if self._offers == offers:
                return [{"error_kind": "refused", "error": message}] * number
            if number > 1 and not self._offers.n:
                return []

    async def _raise_if_refuses_all(self, reply: HttpResponse, message: str) -> None:
        """Raises where all further requests would fail in the same way: a later run asks these prompts again."""
        if reply.status not in (*NOT_ALLOWED, 404) or await self._endpoint.answers_hello():
            return
        self._endpoint.raise_if_unusable(reply)
        raise EngineError(
            f"{self._endpoint.url} refuses all requests (HTTP {reply.status}): {message}",
            mend="set engine.openai.base_url and engine.model; the same command resumes from the answers kept",
        )

    async def _refused_without_text(self, body: dict[str, Any], offers: Offers) -> str | None:
        """Asks a refused request again without any text of the job: what is refused then are its parameters.

        A feature that the endpoint does not offer is left out from then on. Only here are an endpoint's words read,
        where they can quote no document.

        Returns:
            Why the endpoint takes no request with these parameters; None if it takes them, or without that feature.
        """
        shape = json.dumps(
            {key: value for key, value in body.items() if key not in ("messages", "seed")}, sort_keys=True
        )
        async with self._learning:
            if self._offers != offers or shape in self._taken:
                return None
            if shape not in self._refused:
                reply = await self._endpoint.send("POST", "/chat/completions", body | {"messages": HELLO})
                message = error_message(reply.body)
                if reply.status == 200:
                    self._taken.add(shape)
                    return None
                if (kind := retry_kind(reply.status)) is not None:
                    raise TransientError(kind, reply.status, message, reply.retry_after_s)
                if (without := offers.without(message, body)) is not None:
                    self._offers = without
                    return None
                self._refused[shape] = f"{_key_of(message, body)}: the endpoint refuses it for every text: {message}"
            return self._refused[shape]

    def load(self) -> Load | None:
        """None: an endpoint does not report its queue."""
        return None

    def stop(self) -> None:
        """Closes the connections. Any thread may call it."""
        if self._loop.is_running():
            self._loop.call_soon_threadsafe(lambda: self._loop.create_task(self._endpoint.close()))


def _key_of(message: str, body: dict[str, Any]) -> str:
    """The parameters that a message names, under the names of the job's keys where there are such."""
    named = [key for key in body if key not in ("model", "messages", "n") and key in message]
    return (
        ", ".join(f"panel.{key}" if key in ("temperature", "top_p", "max_tokens") else key for key in named)
        or "request"
    )
