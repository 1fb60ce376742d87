"""Polls that meet one fault after another, drawn from a seed, and are resumed by the same command until they are done.

Afterwards every prompt must have one answer, that of an uninterrupted poll, no document that kills nothing may be
convicted, no planted secret may be written, and no process may be left. Arms:

    simulated, replay   drivers that are forked, whose workers are threads: signals, a full or read-only disk at a
                        write, a clock that jumps, a driver that is paused, workers that die, hang or slow down, and in
                        every third simulated trial a document that kills the engine
    endpoint            the same, asking an endpoint that drops, stalls, answers half, redirects, echoes the key, limits
    processes           `xpoll poll` with Ray: SIGKILL of driver, worker, both, raylet; signals to the driver or to all
    vllm                the same with vLLM and a Ray of its own, one or two faults a trial; what an answer says there
                        depends on what is computed beside it, so that votes are held against those which were on disk
                        before the last session, and an answer that is no label is garbage

In all of them a journal or part is damaged between two sessions.
"""

import os
import random
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from xpoll.benchmarks.runner.records import Parameters, Record
from xpoll.benchmarks.runner.subprocess_call import call_in_subprocess
from xpoll.benchmarks.workloads.faults.chaos_trial import (
    GUILTY,
    OF_FORKED,
    OF_OWN_RAY,
    OF_PROCESSES,
    OF_VLLM,
    ChaosTrial,
    secrets_in,
)
from xpoll.benchmarks.workloads.faults.faulty_endpoint import FaultyEndpoint, serving
from xpoll.benchmarks.workloads.faults.forked_poll import ForkedPoll, preload
from xpoll.benchmarks.workloads.faults.poll_outcome import Reference, uninterrupted
from xpoll.benchmarks.workloads.faults.poll_process import PollProcess
from xpoll.core.config.job import EngineConfig
from xpoll.core.progress import say
from xpoll.engine.cluster import ray_session

PLANTED = {
    "OPENAI_API_KEY": "planted-chaos-key-1",
    "HF_TOKEN": "planted-chaos-token-2",
    "ANY_PASSWORD": "planted-chaos-password-3",
}
ENDPOINT = """
[engine]
backend = "openai"
model = "m"
max_in_flight = {max_in_flight}
rows_per_part = {rows_per_part}
hang_timeout_s = {hang_timeout_s}
[engine.openai]
base_url = "{url}"
structured_outputs = "none"
request_timeout_s = 0.4
first_wait_s = 0.05
longest_wait_s = 2
max_concurrency = 8
"""
VLLM = """
[engine]
backend = "vllm"
model = "{model}"
device = "cpu"
replicas = {replicas}
max_in_flight = {max_in_flight}
rows_per_part = {rows_per_part}
hang_timeout_s = {hang_timeout_s}
[engine.vllm]
kv_cache_memory_bytes = {kv_cache_memory_bytes}
max_model_len = {max_model_len}
"""
KINDS = {"processes": OF_PROCESSES, "vllm": OF_VLLM}
"""Faults of the arms whose polls are processes; the others are forked."""


def measure(parameters: Parameters) -> Iterator[Record]:
    """One record per trial: the faults, and everything that is wrong afterwards."""
    arms = parameters["arms"]
    first, last = parameters["seed"], parameters["seed"] + parameters["trials"]
    seeds_of = {arm: [seed for seed in range(first, last) if arms[seed % len(arms)] == arm] for arm in set(arms)}
    size = parameters["trials_per_process"]
    chunks = [(arm, each[i : i + size]) for arm, each in sorted(seeds_of.items()) for i in range(0, len(each), size)]
    executor = ThreadPoolExecutor(parameters["at_once"])
    try:
        for records in executor.map(lambda chunk: _in_subprocess(chunk[0], chunk[1], parameters), chunks):
            yield from records
    finally:
        executor.shutdown(cancel_futures=True)  # after a Ctrl-C no further chunk begins


def _in_subprocess(arm: str, seeds: list[int], parameters: Parameters) -> list[Record]:
    found = call_in_subprocess(run_trials, arm, seeds, parameters, environment=PLANTED)
    records: list[Record] = found["records"]
    return records


def run_trials(arm: str, seeds: list[int], parameters: Parameters) -> Record:
    """The records of one arm's trials, under "records", in a process whose environment holds the planted secrets."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as root, _polls_of(arm, Path(root), parameters) as polls:
        records = []
        for seed in seeds:
            record = {"arm": arm, "seed": seed, **polls.trial(seed)}
            say(f"seed {seed}, {arm}: {record}")
            records.append(record)
    return {"records": records}


class _Polls:
    """Makes the polls of an arm, and holds what they are held against.

    Args:
        arm: The arm.
        root: Folder for them.
        parameters: Of the suite.
        endpoint: That of the arm `endpoint`.
        address: Of the Ray that polls share, in the arm `processes`.
    """

    def __init__(
        self, arm: str, root: Path, parameters: Parameters, endpoint: FaultyEndpoint | None, address: str | None
    ) -> None:
        self._arm, self._root = arm, root
        self._parameters = {**parameters, **parameters.get(arm, {})}
        self._endpoint, self._address = endpoint, address
        self._references: dict[bool, Reference] = {}
        self._recorded: Path | None = None
        if arm == "replay":
            poll = self._poll("recorded", recorded=None)
            uninterrupted(poll)
            self._recorded = poll.folder.completions

    def trial(self, seed: int) -> Record:
        """One trial."""
        draw = random.Random(seed)
        kills = self._arm == "simulated" and seed % 3 == 0
        own_ray = self._arm == "processes" and draw.random() < self._parameters["own_ray_share"]
        poll = self._poll(f"trial-{seed}", kills=kills, own_ray=own_ray, recorded=self._recorded)
        kinds = OF_OWN_RAY if own_ray else KINDS.get(self._arm, OF_FORKED)
        faults = self._parameters["faults"] if self._arm != "vllm" else draw.randint(1, self._parameters["faults"])
        trial = ChaosTrial(
            poll,
            self._reference(kills=kills),
            draw,
            kinds=kinds,
            hang_timeout_s=self._parameters["hang_timeout_s"],
            address=self._endpoint.addresses[f"trial-{seed}"] if self._endpoint else None,
            guilty=[GUILTY] if kills else [],
        )
        record = trial.run(faults)
        return record | {"secrets_written": secrets_in(self._root / f"trial-{seed}", PLANTED.values())}

    def _reference(self, *, kills: bool) -> Reference:
        if kills not in self._references:
            poll = self._poll(f"uninterrupted-{kills}", kills=kills, recorded=self._recorded)
            self._references[kills] = uninterrupted(poll)[0]._replace(repeats=self._arm != "vllm")
        return self._references[kills]

    def _poll(self, name: str, *, kills: bool = False, own_ray: bool = False, recorded: Path | None) -> PollProcess:
        options = f'die_on = ["{GUILTY}"]' if kills else ""
        if self._endpoint is not None:
            options = ENDPOINT.format(url=self._endpoint.url(name), **self._parameters)
        if self._arm == "vllm":
            options = VLLM.format(**self._parameters)
        address = None if own_ray else self._address
        made = PollProcess if self._arm in KINDS else ForkedPoll
        return made(self._root / name, "never", address, self._parameters, recorded=recorded, options=options)


@contextmanager
def _polls_of(arm: str, root: Path, parameters: Parameters) -> Iterator[_Polls]:
    with ExitStack() as stack:
        endpoint = address = None
        if arm == "processes":
            import ray

            stack.enter_context(ray_session(EngineConfig(), log=root / "ray.log"))
            address = ray.get_runtime_context().gcs_address
        elif arm not in KINDS:
            preload()
        if arm == "endpoint":
            os.environ["NO_PROXY"] = "*"
            endpoint = stack.enter_context(serving())
        yield _Polls(arm, root, parameters, endpoint, address)
