"""Polls that meet one fault after another, drawn from a seed, and are resumed by the same command until they are done.

While a poll runs: SIGKILL of the driver, a worker or both, SIGTERM of the driver, a disk that takes no more bytes.
Between two sessions: a journal or part that is cut, zeroed, emptied, deleted, or has a bit flipped. Afterwards every
prompt must have one answer, that of an uninterrupted poll, and no process may be left.
"""

import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil

from xpoll.benchmarks.runner.records import Parameters, Record
from xpoll.benchmarks.suites.kill import Reference, sessions_of, uninterrupted, votes_of
from xpoll.benchmarks.workloads.poll_process import PollProcess, left_of
from xpoll.benchmarks.workloads.rot import KINDS, damage
from xpoll.core.config.job import EngineConfig
from xpoll.core.progress import say
from xpoll.engine.cluster import ray_session
from xpoll.engine.journal.answers import keys_on_disk, take_inventory, whole_keys

MOMENTS = ("start", "answering", "sealing", "end")
FAULTS = ("kill driver", "kill worker", "kill both", "term driver", "full disk")
MOST_SESSIONS = 8
EXPECTED_ENDS = (0, 2, 130, -signal.SIGKILL, -signal.SIGTERM)
"""Exit codes of a poll that met a fault; SIGTERM itself where it came before the command could take it."""


def measure(parameters: Parameters) -> Iterator[Record]:
    """One record per trial: the faults, and everything that is wrong afterwards."""
    import ray

    with tempfile.TemporaryDirectory() as root, ray_session(EngineConfig(), log=Path(root) / "ray.log"):
        address = ray.get_runtime_context().gcs_address
        references: dict[str, Reference] = {}
        recorded = None
        for arm in ("simulated", *(arm for arm in parameters["arms"] if arm != "simulated")):
            poll = PollProcess(Path(root) / f"uninterrupted-{arm}", "never", address, parameters, recorded=recorded)
            references[arm], record = uninterrupted(poll)
            recorded = recorded or poll.folder.completions
            yield {"uninterrupted": arm, **record}
        for number in range(parameters["trials"]):
            seed = parameters["seed"] + number
            arm = parameters["arms"][number % len(parameters["arms"])]
            source = recorded if arm == "replay" else None
            poll = PollProcess(Path(root) / f"trial-{seed}", "never", address, parameters, recorded=source)
            record = trial_of(poll, references[arm], random.Random(seed), faults=parameters["faults"])
            say(f"seed {seed}, {arm}: {record}")
            yield {"arm": arm, "seed": seed, **record}


def trial_of(poll: PollProcess, reference: Reference, draw: random.Random, *, faults: int) -> Record:
    """Runs a poll through its faults and then to its end, and holds it against an uninterrupted one.

    Args:
        poll: Not started yet.
        reference: An uninterrupted poll of the same job.
        draw: Source of faults, moments and damage.
        faults: Most faults; a poll that is done before the last one has fewer.
    """
    done: list[str] = []
    processes_left = odd_ends = 0
    for _ in range(faults):
        poll.start()
        moment, fault = draw.choice(MOMENTS), draw.choice(FAULTS)
        poll.wait_until(moment, draw, total=len(reference.votes), usual_start_s=reference.usual_start_s)
        if poll.is_running:
            done.append(f"{moment}: {fault}")
            processes_left += len(left_of(_inflict(poll, fault, draw)))
        code = poll.wait()
        odd_ends += code not in EXPECTED_ENDS
        if draw.random() < 0.5 and (damaged := _damaged(poll, draw)):
            done.append(damaged)
    begun_s = time.monotonic()
    missing, sessions = len(reference.votes), 0
    for _ in range(MOST_SESSIONS):
        kept = set(whole_keys(take_inventory(poll.folder.completions)))
        missing, sessions = len(reference.votes) - len(kept), len(sessions_of(poll.folder))
        poll.start()
        if poll.wait() == 0:
            break
    asked = sum(session["answers"] for session in sessions_of(poll.folder)[sessions:])
    answers = Counter(keys_on_disk(poll.folder.completions))
    votes = votes_of(poll.folder)
    return {
        "trials": 1,
        "faults": "; ".join(done) or "none: it was over before",
        "rows_lost": len(reference.votes.keys() - answers.keys()),
        "asked_twice": answers.total() - len(answers) + max(0, asked - missing),
        "garbage": len(answers.keys() - reference.votes.keys()),
        "votes_changed": sum(votes.get(key) != label for key, label in reference.votes.items()),
        "processes_left": processes_left + len(left_of(poll.workers())),
        "odd_ends": odd_ends,
        "recovery_s": round(time.monotonic() - begun_s, 2),
    }


def _inflict(poll: PollProcess, fault: str, draw: random.Random) -> list[psutil.Process]:
    """Does what the fault says; returns the processes that have to end as a consequence."""
    action, _, victim = fault.partition(" ")
    if action == "kill":
        return poll.kill(victim if victim != "worker" or poll.workers() else "driver")
    if action == "term":
        poll.terminate()
    else:
        poll.fill_disk(draw.randrange(200_000))
    return []


def _damaged(poll: PollProcess, draw: random.Random) -> str | None:
    places = {"journal": "journal-*.arrows", "part": "part-*.parquet"}
    there = [place for place, pattern in places.items() if any(poll.folder.completions.glob(pattern))]
    files = [path for pattern in places.values() for path in poll.folder.completions.glob(pattern)]
    if not there or not all(path.stat().st_size for path in files):
        return None
    return damage(poll.folder.completions, draw, kind=draw.choice(KINDS), place=draw.choice(there))
