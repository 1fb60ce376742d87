"""xpoll beside what a user would pick instead: the same labelling job, alternating repeats, losses included.

Peers are folders of benchmarks/peers. Each run is a process of its own in a new folder, watched from outside: time to
the end and to the first answer on disk, memory of all its processes, answers missing and doubled. xpoll's own parser
reads the labels of all.
"""

from collections.abc import Callable, Iterator, Sequence

from xpoll.benchmarks.runner.records import Parameters, Record
from xpoll.benchmarks.workloads.peers.arms import Arm, chosen_arms, find_arms
from xpoll.benchmarks.workloads.peers.faults import ENGINE_KILLED, fault_records
from xpoll.benchmarks.workloads.peers.labelling import LabellingJob, PeerEngine, labelling_job
from xpoll.benchmarks.workloads.peers.mock_endpoint import MODEL, serving_mock
from xpoll.benchmarks.workloads.peers.race import alternating_runs, run_once
from xpoll.benchmarks.workloads.peers.server import WARM_UP, serving_vllm, tuned_engine
from xpoll.benchmarks.workloads.peers.tables import label_records, ratio_records, trouble_record
from xpoll.core.machine.processes import guard_descendants
from xpoll.core.models import resolve_model
from xpoll.core.progress import say


def measure(parameters: Parameters) -> Iterator[Record]:
    """The parts that are asked for, shape by shape."""
    arms = chosen_arms(find_arms(), parameters["arms"])
    resolve_model(parameters["model"], key="parameters.model")  # prepares a packaged model before the clock starts
    engine = tuned_engine(parameters)
    guardian = guard_descendants()  # peers start processes in sessions of their own
    try:
        for part, run in PARTS.items():
            if part in parameters["parts"]:
                say(f"part {part}")
                for record in run(parameters, arms, engine):
                    yield {"part": part, **record}
    finally:
        guardian.kill()
        guardian.wait()


def in_process(parameters: Parameters, arms: Sequence[Arm], engine: PeerEngine) -> Iterator[Record]:
    """Peers that compute themselves."""
    own = [arm for arm in arms if not arm.peer.endpoint]
    for shape in parameters["shapes"]:
        yield from _raced("in_process", parameters, own, shape, parameters["sentences"], engine)


def endpoint(parameters: Parameters, arms: Sequence[Arm], engine: PeerEngine) -> Iterator[Record]:
    """Peers in front of one vLLM server."""
    asking = [arm for arm in arms if arm.peer.endpoint]
    with serving_vllm(parameters, engine) as server:
        for shape in parameters["shapes"]:
            server.warm_up(labelling_job(parameters, shape, sentences=WARM_UP))
            there = engine._replace(folder=parameters["model"], endpoint=server.url)
            count = parameters["sentences"]
            yield from _raced(
                "endpoint", parameters, asking, shape, count, there, before=server.forget_prefixes, key=server.key
            )


def mock(parameters: Parameters, arms: Sequence[Arm], engine: PeerEngine) -> Iterator[Record]:
    """Peers in front of an endpoint that computes nothing."""
    asking = [arm for arm in arms if arm.peer.endpoint and arm.same_work]
    with serving_mock(parameters["mock_delay_s"]) as server:
        for shape in parameters["shapes"]:
            there = engine._replace(folder=MODEL, endpoint=server.url)
            # Its labels mean nothing.
            yield from _raced(
                "mock", parameters | {"references": []}, asking, shape, parameters["mock_sentences"], there
            )


def faults(parameters: Parameters, arms: Sequence[Arm], engine: PeerEngine) -> Iterator[Record]:
    """Peers that meet faults: those at an endpoint with one that fails as told, the others with real engines."""
    records = []
    for record in fault_records(parameters, [arm for arm in arms if arm.same_work], engine):
        records.append(record)
        yield record
    if (ours := trouble_record(records, ENGINE_KILLED)) is not None:
        yield ours


def _raced(
    part: str,
    parameters: Parameters,
    arms: Sequence[Arm],
    shape: str,
    sentences: int,
    engine: PeerEngine,
    *,
    before: Callable[[], None] = lambda: None,
    key: str = "",
) -> Iterator[Record]:
    """Runs of all arms in turn, then how their labels and rates compare."""
    jobs: dict[int, LabellingJob] = {}
    labels: dict[tuple[str, int], dict[str, str | None]] = {}
    records: list[Record] = []

    def run(arm: Arm) -> tuple[Record, dict[str, str | None]]:
        count = min(parameters["few"].get(arm.name, sentences), sentences)
        if count not in jobs:
            jobs[count] = labelling_job(parameters, shape, sentences=count)
        say(f"{shape}: {arm.name}")
        before()
        return run_once(jobs[count], arm, engine, timeout_s=parameters["timeout_s"], key=key)

    able = [arm for arm in arms if shape in arm.shapes]
    for record, found in alternating_runs(able, parameters["repeats"], run):
        labels[record["arm"], record["repeat"]] = found
        say(f"{record['arm']}: {record.get('error') or str(record['wall_s']) + ' s'}")
        records.append({"shape": shape, **record})
        yield records[-1]
    said = list(label_records(records, labels, parameters["references"]))
    for record in [*said, *ratio_records(records, said, part)]:
        yield {"shape": shape, **record}


PARTS: dict[str, Callable[[Parameters, Sequence[Arm], PeerEngine], Iterator[Record]]] = {
    "in_process": in_process,
    "endpoint": endpoint,
    "mock": mock,
    "faults": faults,
}
