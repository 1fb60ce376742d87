"""One vLLM server on loopback for the peers that ask an endpoint, with the engine arguments that xpoll sets."""

import asyncio
import json
import os
import tempfile
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from xpoll.benchmarks.runner.records import Parameters
from xpoll.benchmarks.workloads.peers.labelling import LabellingJob, PeerEngine, constraint_of
from xpoll.core.models import resolve_model
from xpoll.core.progress import say
from xpoll.engine.backends.vllm.command import serve_command
from xpoll.engine.backends.vllm.in_process import default_options
from xpoll.engine.backends.vllm.server import SERVER_OPTIONS
from xpoll.engine.backends.vllm.server_process import VllmServer
from xpoll.engine.devices.find import find_devices, pinning

WARM_UP = 8
"""Texts that a server is asked about before it is measured."""
TIMEOUT_S = 600


class PeerServer:
    """A vLLM server that is up.

    Attributes:
        url: Its address up to the version.
        key: What its clients show.

    Args:
        server: Started.
    """

    def __init__(self, server: VllmServer) -> None:
        self._server = server
        self.url = f"{server.address}/v1"
        self.key = server.headers["Authorization"].removeprefix("Bearer ")

    def forget_prefixes(self) -> None:
        """Empties the prefix cache, so that each run begins with an empty one."""
        self._post("/reset_prefix_cache", b"")

    def warm_up(self, job: LabellingJob) -> None:
        """Asks about some texts of a job: what is compiled at first use is not measured."""
        constraint = constraint_of(job)
        bodies = [
            {
                "model": self._server.name,
                "messages": list(prompt.messages),
                "max_tokens": prompt.sampling.max_tokens,
                "structured_outputs": constraint,
            }
            for prompt in job.prompts[:WARM_UP]
        ]
        with ThreadPoolExecutor(WARM_UP) as together:
            list(together.map(lambda body: self._post("/v1/chat/completions", json.dumps(body).encode()), bodies))

    def _post(self, path: str, body: bytes) -> None:
        headers = {**self._server.headers, "Content-Type": "application/json"}
        request = urllib.request.Request(self._server.address + path, body, headers, method="POST")
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as reply:
            reply.read()


def tuned_engine(parameters: Parameters) -> PeerEngine:
    """The engine arguments and the pinning that xpoll sets on this machine, for peers that are told them.

    Args:
        parameters: Of the suite: model, vllm, in_flight.
    """
    (device,) = find_devices("cpu", 1)
    arguments = {**default_options(device), **parameters["vllm"]}
    arguments.pop("disable_log_stats")  # an option of logging, which not every peer takes
    folder = resolve_model(parameters["model"], key="parameters.model")
    return PeerEngine(parameters["model"], folder, "", arguments, pinning(device), parameters["in_flight"])


@contextmanager
def serving_vllm(parameters: Parameters, engine: PeerEngine) -> Iterator[PeerServer]:
    """The server for the time of the block.

    Args:
        parameters: Of the suite.
        engine: As `tuned_engine` returns it.

    Raises:
        EngineError: it does not start.
    """
    log = Path(tempfile.gettempdir()) / f"xpoll-bench-peers-server-{os.getpid()}.log"
    environment = {**engine.environment, "VLLM_SERVER_DEV_MODE": "1"}  # /reset_prefix_cache
    with log.open("wb") as printed:
        server = VllmServer(
            serve_command(),
            engine.folder,
            parameters["model"],
            {**engine.arguments, **SERVER_OPTIONS},
            environment=environment,
            output=printed.fileno(),
        )
        try:
            say("starting the vLLM server")
            asyncio.run(server.start())
            yield PeerServer(server)
        finally:
            server.stop()
    log.unlink(missing_ok=True)
