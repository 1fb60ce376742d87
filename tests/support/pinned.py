"""Starts workers as a run does and prints what each one's process sees, as JSON: a list of environments.

python -m tests.support.pinned ENGINE_AS_JSON
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from xpoll.core.config.job import EngineConfig
from xpoll.core.records import AnswerSchema, Completion, Prompt, Sampling
from xpoll.engine.backends.backend import BackendSettings, Load
from xpoll.engine.cluster import create_worker, kill_worker, ray_session
from xpoll.engine.devices.find import pinning
from xpoll.engine.work import NeverStop, Work, WorkBatch

READ = ("ZE_", "ZES_", "ONEAPI_", "RAY_EXPERIMENTAL_NOSET", "VLLM_", "OMP_", "CCL_", "FI_")


class SeesBackend:
    """Answers with what its process sees."""

    def __init__(self, settings: BackendSettings) -> None:
        self._settings = settings

    async def start(self) -> None:
        pass

    async def answer(self, prompt: Prompt) -> Completion:
        seen: dict[str, Any] = {name: value for name, value in os.environ.items() if name.startswith(READ)}
        seen["device"], seen["pid"] = str(self._settings.device), os.getpid()
        seen["niceness"] = os.getpriority(os.PRIO_PROCESS, 0)
        seen["pci_address"] = self._settings.device.pci_address
        return Completion(*prompt.key, text=json.dumps(seen), finish_reason="stop")

    def load(self) -> Load | None:
        return None

    def stop(self) -> None:
        pass


def _without_our_flags(numbers: int) -> list[dict[str, str]]:
    """What Ray itself would do to actors that declare a GPU and nothing else."""
    import ray

    def environment() -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if name.startswith(("ZE_", "ONEAPI_"))}

    @ray.remote(num_gpus=1, num_cpus=0)
    class Plain:
        def environment(self) -> dict[str, str]:
            return environment()

    actors = [Plain.remote() for _ in range(numbers)]
    found: list[dict[str, str]] = ray.get([actor.environment.remote() for actor in actors])
    for actor in actors:
        ray.kill(actor)
    return found


def main() -> None:
    """Prints {"pinned": [...], "plain": [...], "gpus": what Ray has declared}."""
    import ray

    config = EngineConfig(backend="tests.support.pinned:SeesBackend", model="none", **json.loads(sys.argv[1]))
    log = Path(tempfile.mkdtemp(), "log")
    prompt = Prompt("d", "p", 0, ({"role": "user", "content": "?"},), Sampling(0, 1, 1), AnswerSchema(()))
    with ray_session(config, log=log) as devices:
        plain = _without_our_flags(2) if config.address is None and devices[0].kind == "xpu" else []
        workers = [
            create_worker(config, device, name=f"worker-{i}", stop=NeverStop(), log=log)
            for i, device in enumerate(devices)
        ]
        ray.get([worker.start.remote() for worker in workers], timeout=120)
        replies = ray.get(
            [worker.exchange.remote(WorkBatch([Work("d", (prompt,))]), 30.0) for worker in workers], timeout=120
        )
        seen = [json.loads(reply.answers["text"][0].as_py()) for reply in replies]
        gpus = ray.cluster_resources().get("GPU", 0)
        for worker in workers:
            kill_worker(worker)
        wanted = [pinning(device) for device in devices]
    print(json.dumps({"pinned": seen, "plain": plain, "gpus": gpus, "wanted": wanted}))  # noqa: T201


if __name__ == "__main__":
    main()
