"""Peers in trouble: a text that no engine can answer, an engine killed in the middle, the driver killed.

A peer that ends with an error is given the same command again, as its user would; one that says it is done is
believed, whatever it lost. Rows that were asked twice are counted at the endpoint, by the answers that it delivered; of
peers that compute themselves by the answers that were on disk and came again: work that was lost before it was on disk
shows in their time alone.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from xpoll.benchmarks.runner.records import Parameters, Record
from xpoll.benchmarks.workloads.peers.arms import Arm
from xpoll.benchmarks.workloads.peers.environments import version_of
from xpoll.benchmarks.workloads.peers.labelling import LabellingJob, PeerEngine, labelling_job
from xpoll.benchmarks.workloads.peers.mock_endpoint import MODEL, MockEndpoint, serving_mock
from xpoll.benchmarks.workloads.peers.race import PeerFolder, failed, one_line, peer_folder, why_failed
from xpoll.benchmarks.workloads.peers.watched import PeerProcess, Watched
from xpoll.core.errors import UserError
from xpoll.core.progress import say

UNDISTURBED, POISON, ENGINE_KILLED, DRIVER_KILLED = "undisturbed", "poison row", "engine killed", "driver killed"
FAULTS = {
    UNDISTURBED: "the same job without a fault.",
    POISON: "one text in the middle is longer than any context; it is not counted as lost.",
    ENGINE_KILLED: "half-way the endpoint drops its requests and is away for some seconds, or the process that holds "
    "the model is killed.",
    DRIVER_KILLED: "half-way the process of the command is killed, and the same command is given again.",
}
"""Faults by name, with what happens."""
SESSIONS = 3
"""How often a command is given at most."""
LATEST = 0.7
"""Share of the undisturbed time after which a fault comes, where a peer has no answer on disk until its end."""


class _Scene(NamedTuple):
    """What a fault needs to know.

    Attributes:
        name: Of the fault.
        place: The arm's folder.
        mock: The endpoint; None for a peer that computes itself.
        half: Answers at which the fault comes.
        latest_s: Seconds after which it comes in any case.
    """

    name: str
    place: PeerFolder
    mock: MockEndpoint | None
    half: int
    latest_s: float

    def is_due(self, process: PeerProcess) -> bool:
        done = self.place.num_lines() if self.mock is None else self.mock.delivered.total()
        return done >= self.half or process.seconds() > self.latest_s


def fault_records(parameters: Parameters, arms: Sequence[Arm], engine: PeerEngine) -> Iterator[Record]:
    """One record per arm and fault, after one of the undisturbed job.

    Args:
        parameters: Of the suite.
        arms: Those that do the same work; of peers that compute themselves, the ones with tuned arguments are taken.
        engine: As `tuned_engine` returns it.
    """
    shape = parameters["shapes"][0]
    # Fewer than there are rows, so that half-way some are answered and some not yet asked.
    engine = engine._replace(in_flight=parameters["fault_in_flight"])
    for arm in arms:
        if not arm.options.get("tuned", True) or shape not in arm.shapes:
            continue
        count = parameters["fault_sentences" if arm.peer.endpoint else "fault_engine_sentences"]
        plain = labelling_job(parameters, shape, sentences=count)
        poisoned = labelling_job(parameters, shape, sentences=count, poison=True)
        usual_s = 0.0
        for name in FAULTS:
            say(f"{name}: {arm.name}")
            job = poisoned if name == POISON else plain
            record = _record_of(name, arm, job, engine, parameters, usual_s)
            say(f"{arm.name}: {record.get('error') or str(record['wall_s']) + ' s'}")
            yield {"role": name, "shape": shape, "arm": arm.name, **record}
            if name == UNDISTURBED:
                if record["status"] == "failed":
                    break
                usual_s = record["wall_s"]


def _record_of(
    name: str, arm: Arm, job: LabellingJob, engine: PeerEngine, parameters: Parameters, usual_s: float
) -> Record:
    try:
        with ExitStack() as stack:
            mock = None
            if arm.peer.endpoint:
                mock = stack.enter_context(serving_mock(parameters["fault_delay_s"]))
                engine = engine._replace(folder=MODEL, endpoint=mock.url)
            place = stack.enter_context(peer_folder(job, arm, engine))
            half = len(job.row_ids) * job.samples // 2
            scene = _Scene(name, place, mock, half, LATEST * usual_s if mock is None else float("inf"))
            return _played(scene, parameters, usual_s)
    except UserError as error:
        return failed(arm, one_line(str(error)))


def _played(scene: _Scene, parameters: Parameters, usual_s: float) -> Record:
    """The record of a job that meets a fault in its first session."""
    place, job = scene.place, scene.place.job
    happened = [scene.name in (UNDISTURBED, POISON)]
    if scene.name == ENGINE_KILLED and scene.mock is not None:
        requests = len(job.row_ids) // 2
        scene.mock.go_away(at_request=requests, for_s=parameters["away_s"])
    sessions: list[Watched] = []
    while len(sessions) < (1 if scene.name == UNDISTURBED else SESSIONS):
        look = _fault_of(scene, happened) if not sessions else None
        sessions.append(place.start().watch(parameters["timeout_s"], look))
        if sessions[-1].code == 0:
            break
    if scene.mock is not None and scene.name == ENGINE_KILLED:
        happened[0] = scene.mock.has_been_away
    outcome, last = place.outcome(), sessions[-1]
    if scene.name == UNDISTURBED and (last.code != 0 or not outcome.answers):
        return failed(place.arm, why_failed(last, place.log))
    if not happened[0]:
        return failed(place.arm, "it was over before the fault")
    wall_s = sum(session.wall_s for session in sessions)
    record = {
        "version": version_of(place.arm.peer),
        "status": "ok",
        "sentences": len(job.row_ids),
        "rows_lost": outcome.lost_rows - (1 if scene.name == POISON and _poison_is_lost(scene) else 0),
        "asked_twice": outcome.doubled if scene.mock is None else _asked_twice(scene.mock, job),
        "wall_s": round(wall_s, 3),
        "sessions": len(sessions),
        "gave_up": last.code != 0,
        "memory_mib": max(session.memory_mib for session in sessions),
        "processes_left": sum(session.processes_left for session in sessions),
    }
    return {**record, "times_undisturbed": round(wall_s / usual_s, 3)} if usual_s else record


def _fault_of(scene: _Scene, happened: list[bool]) -> Callable[[PeerProcess], None] | None:
    """What is done to the processes of a session while it runs."""
    if scene.name not in (ENGINE_KILLED, DRIVER_KILLED) or (scene.name == ENGINE_KILLED and scene.mock is not None):
        return None

    def look(process: PeerProcess) -> None:
        if happened[0] or not scene.is_due(process):
            return
        if scene.name == DRIVER_KILLED:
            process.kill_driver()
            happened[0] = True
        else:
            happened[0] = process.kill_engine()

    return look


def _poison_is_lost(scene: _Scene) -> bool:
    """Whether the row that cannot be answered has no answer, as it must."""
    ids = scene.place.job.row_ids
    return scene.place.outcome().labels[ids[len(ids) // 2]] is None


def _asked_twice(mock: MockEndpoint, job: LabellingJob) -> int:
    asked = (prompt.messages[-1]["content"] for prompt in job.prompts)
    return sum(max(0, mock.delivered[text] - job.samples) for text in asked)
