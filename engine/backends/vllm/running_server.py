"""vLLM servers that are up already behind one address, as a backend: those of `xpoll serve`."""

import aiohttp

from xpoll.engine.backends.backend import BackendSettings
from xpoll.engine.backends.vllm.server import VllmServerBackend
from xpoll.engine.backends.vllm.server_process import VllmServer, given_key


class RunningServer(VllmServer):
    """A server that somebody else starts, watches and ends.

    Args:
        address: Its base URL, without a path.
        name: Name of the model in requests.
    """

    def __init__(self, address: str, name: str) -> None:
        super().__init__((), name, name, {})
        self.address = address
        key = given_key({})  # another one is known to what is in front of them
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}

    async def is_healthy(self, session: aiohttp.ClientSession) -> bool:
        """Whether it says so within ten seconds."""
        try:
            async with session.get(f"{self.address}/health", timeout=aiohttp.ClientTimeout(total=10)) as reply:
                return reply.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False


class RunningVllmBackend(VllmServerBackend):
    """A client of servers that are up; answers have the form that those of a server behind a worker have.

    Args:
        settings: What the backend starts with; no option is read, the servers have theirs.
        address: Base URL of the servers, without a path.
    """

    def __init__(self, settings: BackendSettings, address: str) -> None:
        super().__init__(settings)
        self.server = RunningServer(address, settings.model)

    async def start(self) -> None:
        """Finds out what the servers' model takes.

        Raises:
            EngineError: the model has no chat template.
        """
        await self._connect()
        self._watch.cancel()  # the load of one of several servers says nothing of the others
