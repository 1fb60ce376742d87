"""vLLM's own server as the worker's engine: any environment or container that has a `vllm serve`.

Chosen by `engine.server_command`. Answers have the same form as those of engine/backends/vllm/in_process.py. A
crash stays outside the worker, which sees it as the death of its engine.
"""

import asyncio
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import aiohttp

from xpoll.core.control_tokens import control_tokens_in, messages_without_control_tokens
from xpoll.core.errors import EngineError
from xpoll.core.log import LOGGER
from xpoll.core.models import model_file, resolve_model
from xpoll.core.records import Completion, Prompt
from xpoll.engine.backends.backend import BackendSettings, EngineDeadError, Load
from xpoll.engine.backends.chat import too_long
from xpoll.engine.backends.openai.chat_api import (
    MalformedError,
    Offers,
    completion_fields,
    error_message,
    failure_of,
    fold_system,
    is_too_long,
    request_body,
)
from xpoll.engine.backends.vllm.in_process import default_options, seed_problem
from xpoll.engine.backends.vllm.server_process import VllmServer
from xpoll.engine.backends.vllm.xpu import prepare_xpu
from xpoll.engine.devices.find import Device

LOAD_EVERY_S = 1.0
# uvicorn closes connections that were idle for 5 s; closing them earlier here keeps requests from hitting that.
KEEP_ALIVE_S = 2.0
# Sampling parameters come from the job; a model's generation_config.json would add others.
SERVER_OPTIONS = {
    "generation_config": "vllm",
    "enable_prompt_tokens_details": True,  # without it the server does not report cached tokens
    "disable_uvicorn_access_log": True,
}
_METRIC = re.compile(
    r"^vllm:(num_requests_running|num_requests_waiting|kv_cache_usage_perc)(?:\{[^}]*\})? (\S+)$", re.M
)


class VllmServerBackend:
    """One server on one device; the worker's environment pins it already.

    Args:
        settings: What the backend starts with.
    """

    def __init__(self, settings: BackendSettings) -> None:
        self._settings = settings
        self._load: Load | None = Load(0, 0)
        self._fold_system = False

    async def start(self) -> None:
        """Starts the server and waits until its model is loaded.

        Raises:
            EngineError: the server does not start, or the model has no chat template.
            ModelError: there is no such model.
        """
        settings = self._settings
        prepare_xpu(settings.device)
        model = await asyncio.to_thread(resolve_model, settings.model, key="engine.model")
        options = {**server_options(settings.device), **settings.options}
        self.server = VllmServer(settings.server_command, model, settings.model, options)
        await self.server.start()
        await self._connect()

    async def _connect(self) -> None:
        """Finds out what the server's model takes; the server is up."""
        settings = self._settings
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S)
        # Requests have no timeout of their own: the dispatcher kills an engine that gives no answers.
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(total=None), headers=self.server.headers
        )
        self._loop = asyncio.get_running_loop()
        self._watch = asyncio.create_task(self._watch_load())
        self._fold_system = not await self._takes_system()
        self._context = await self._context_length()
        tokenizer_file = model_file(settings.model, "tokenizer.json")
        if tokenizer_file is None:
            LOGGER.warning("%s has no tokenizer.json here: control tokens in texts are kept", settings.model)
        self._control = control_tokens_in(tokenizer_file) if tokenizer_file else []

    async def _takes_system(self) -> bool:
        user, system = {"role": "user", "content": "b"}, {"role": "system", "content": "a"}
        status, body = await self._post("/tokenize", {"model": self._settings.model, "messages": [user]})
        if status == 400:
            raise EngineError(
                f"{self._settings.model} cannot be asked by chat: {error_message(body)}",
                mend="use a model made for chat (instruct), with a chat template",
            )
        status, _ = await self._post("/tokenize", {"model": self._settings.model, "messages": [system, user]})
        return status != 400

    async def _context_length(self) -> int:
        async with self._session.get(f"{self.server.address}/v1/models") as reply:
            return int((await reply.json())["data"][0]["max_model_len"])

    async def answer(self, prompt: Prompt) -> Completion:
        """The completion of one prompt; a prompt that cannot be answered ends as an error row.

        Raises:
            EngineDeadError: the server or its engine is gone.
        """
        end = self._settings.ending(prompt)
        return end(**await self._outcome(prompt))

    async def _outcome(self, prompt: Prompt) -> dict[str, Any]:
        if (problem := seed_problem(prompt, self._settings.device)) is not None:
            return {"error_kind": "refused", "error": problem}
        asked = prompt.in_words()
        messages = fold_system(asked.messages) if self._fold_system else asked.messages
        asked = asked._replace(messages=tuple(messages_without_control_tokens(messages, self._control)))
        body = request_body(asked, model=self._settings.model, offers=Offers())
        try:
            status, response = await self._post("/v1/chat/completions", body)
        except aiohttp.ClientError as error:
            await self._raise_if_dead(error)
            status, response = 500, f"{type(error).__name__}: {error}"
        if status == 200 and (failure := failure_of(response)) is not None:
            status, response = failure
        if status == 200:
            try:
                return self._checked_length(completion_fields(response, prompt.answer)[0], prompt)
            except MalformedError as error:
                return {"error_kind": "malformed", "error": str(error)}
            except ValueError as error:
                return {"error_kind": "server", "error": str(error)}
        message = error_message(response)
        if status >= 500:
            await self._raise_if_dead(message)
            return {"error_kind": "server", "error": message}
        return {"error_kind": "context_length" if is_too_long(message) else "refused", "error": message}

    def _checked_length(self, fields: dict[str, Any], prompt: Prompt) -> dict[str, Any]:
        """The fields, or an error as of the in-process engine: a server shortens an answer that exceeds the context."""
        max_tokens = prompt.sampling.max_tokens or 1
        if "error_kind" in fields:
            return fields
        if fields["prompt_tokens"] + max_tokens <= self._context:
            return fields
        error = too_long(fields["prompt_tokens"], max_tokens, self._context)
        return {"prompt_tokens": fields["prompt_tokens"], "error_kind": "context_length", "error": error}

    async def _post(self, path: str, body: Mapping[str, Any]) -> tuple[int, Any]:
        async with self._session.post(f"{self.server.address}{path}", json=body, allow_redirects=False) as reply:
            text = await reply.text(errors="replace")
            try:
                return reply.status, json.loads(text)
            except (ValueError, RecursionError):
                return reply.status, text

    async def _raise_if_dead(self, problem: object) -> None:
        if not await self.server.is_healthy(self._session):
            raise EngineDeadError(await self.server.exit_reason_soon() or f"the server's engine is gone: {problem}")

    async def _watch_load(self) -> None:
        while True:
            with suppress(aiohttp.ClientError, TimeoutError):
                timeout = aiohttp.ClientTimeout(total=10)
                async with self._session.get(f"{self.server.address}/metrics", timeout=timeout) as reply:
                    self._load = load_of(await reply.text())
            await asyncio.sleep(LOAD_EVERY_S)

    def load(self) -> Load | None:
        """The load on the server's metrics page, read every LOAD_EVERY_S; None where it has none."""
        return self._load

    def stop(self) -> None:
        """Ends the server and closes the connections to it. Any thread may call it."""
        if self._loop.is_running():
            self._loop.call_soon_threadsafe(lambda: self._loop.create_task(self._close()))
        self.server.stop()

    async def _close(self) -> None:
        self._watch.cancel()
        await self._session.close()


def server_options(device: Device) -> dict[str, Any]:
    """`default_options` for a server, with the statistics that `load` reads."""
    options = default_options(device)
    options.pop("disable_log_stats")
    return {**options, **SERVER_OPTIONS}


def load_of(metrics: str) -> Load | None:
    """The load on a page of vLLM's Prometheus metrics, summed over the server's engines; None without these metrics."""
    found: dict[str, list[float]] = {}
    for name, value in _METRIC.findall(metrics):
        found.setdefault(name, []).append(float(value))
    if not {"num_requests_running", "num_requests_waiting"} <= found.keys():
        return None
    usage = found.get("kv_cache_usage_perc")
    return Load(
        int(sum(found["num_requests_running"])),
        int(sum(found["num_requests_waiting"])),
        sum(usage) / len(usage) if usage else None,
    )
