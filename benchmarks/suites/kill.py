"""Polls that are killed with SIGKILL at random moments and resumed until they are done.

Afterwards no answer that was on disk before a kill may be missing, none may have been asked again, the votes
must equal those of an uninterrupted poll, and no process of the killed ones may be left. Simulated answers
depend on their key alone, so votes can be compared.

Most runs share one Ray, because starting one takes longer than the run; in every `own_ray_every`th run xpoll
starts a local one, whose processes must end as well.
"""

import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from xpoll.benchmarks.runner.records import Parameters, Record
from xpoll.benchmarks.workloads.faults.poll_outcome import Reference, sessions_of, uninterrupted, votes_of
from xpoll.benchmarks.workloads.faults.poll_process import PollProcess, left_of
from xpoll.core.config.job import EngineConfig
from xpoll.core.progress import say
from xpoll.core.records import Key
from xpoll.engine.cluster import ray_session
from xpoll.engine.journal.answers import keys_on_disk

MOMENTS = {"start": 0.2, "answering": 0.4, "sealing": 0.3, "end": 0.1}
VICTIMS = {"driver": 0.5, "worker": 0.25, "both": 0.25}


def measure(parameters: Parameters) -> Iterator[Record]:
    """One record per run: the kills, the answers kept, and every fault found afterwards."""
    import ray

    draw = random.Random(parameters["seed"])
    with tempfile.TemporaryDirectory() as root, ray_session(EngineConfig(), log=Path(root) / "ray.log"):
        address = ray.get_runtime_context().gcs_address
        references = {}
        for stop in ("never", "decided"):
            poll = PollProcess(Path(root) / f"uninterrupted-{stop}", stop, address, parameters)
            references[stop], record = uninterrupted(poll)
            yield {"uninterrupted": stop, **record}
        done = 0
        for number in range(2 * parameters["runs"]):  # a drawn moment may be after the end of a poll
            if done == parameters["runs"]:
                return
            own_ray = number % parameters["own_ray_every"] == parameters["own_ray_every"] - 1
            stop = "never" if number % 2 else "decided"
            poll = PollProcess(Path(root) / f"run-{number}", stop, None if own_ray else address, parameters)
            twice = draw.random() < parameters["killed_twice_share"]
            record = killed(poll, references[stop], draw, kills=2 if twice else 1)
            done += record["runs"]
            say(f"{done} of {parameters['runs']} killed runs done: {record}")
            yield {"run": number, "stop": stop, "own_ray": own_ray, **record}


def killed(poll: PollProcess, reference: Reference, draw: random.Random, *, kills: int) -> Record:
    """Starts a poll, kills it, resumes it until it is done, and checks its results.

    Args:
        poll: Not started yet.
        reference: An uninterrupted poll of the same job.
        draw: Random generator of moments and victims.
        kills: Number of kills.
    """
    total, done = len(reference.votes), []
    kept: set[Key] = set()
    processes_left, sealing, sessions, missing = 0, 0, 0, total
    begun_s = time.monotonic()
    poll.start()
    for _ in range(kills):
        moment, victim = _pick(MOMENTS, draw), _pick(VICTIMS, draw)
        at_s = poll.wait_until(moment, draw, total=total, usual_start_s=reference.usual_start_s)
        if not poll.is_running:
            break
        if victim == "worker" and not poll.workers():
            victim = "driver"
        processes_left += len(left_of(poll.kill(victim)))
        if victim == "worker":  # the driver carries on by itself
            done.append(f"{moment}: worker at {at_s:.2f} s")
            continue
        sealing += poll.is_sealing
        on_disk = keys_on_disk(poll.folder.completions)
        kept |= set(on_disk)
        missing, sessions = total - len(on_disk), len(sessions_of(poll.folder))
        done.append(f"{moment}: {victim} at {at_s:.2f} s with {len(on_disk)} answers kept")
        poll.start()
    poll.finish()
    asked = sum(session["answers"] for session in sessions_of(poll.folder)[sessions:])
    answers = Counter(keys_on_disk(poll.folder.completions))
    votes = votes_of(poll.folder)
    return {
        "runs": int(len(done) > 0),
        "kills": "; ".join(done) or "none: it was over before",
        "while_sealing": sealing,
        "kept": len(kept),
        "missing": missing,
        "asked": asked,
        "lost": len(kept - answers.keys()),
        "asked_twice": answers.total() - len(answers) + max(0, asked - missing),
        "votes_that_differ": sum(votes.get(key, "") != reference.votes.get(key, "") for key in votes | reference.votes),
        "processes_left": processes_left + len(left_of(poll.workers())),
        "wall_s": round(time.monotonic() - begun_s, 2),
    }


def _pick(shares: dict[str, float], draw: random.Random) -> str:
    return draw.choices(list(shares), list(shares.values()))[0]
