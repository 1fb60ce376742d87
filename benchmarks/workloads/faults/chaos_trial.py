"""One poll that meets faults drawn from a seed, is resumed until it is done, and is held against one without faults."""

import random
import signal
import time
from collections import Counter
from collections.abc import Collection
from pathlib import Path

import psutil

from xpoll.benchmarks.runner.records import Record
from xpoll.benchmarks.workloads.faults.faulty_endpoint import Address, draw_trouble
from xpoll.benchmarks.workloads.faults.forked_poll import ForkedPoll
from xpoll.benchmarks.workloads.faults.inner_faults import draw_inner
from xpoll.benchmarks.workloads.faults.poll_outcome import (
    Reference,
    Votes,
    sessions_of,
    votes_of,
    whole_votes_of,
)
from xpoll.benchmarks.workloads.faults.poll_process import PollProcess, left_of
from xpoll.benchmarks.workloads.faults.rot import KINDS, damage
from xpoll.engine.journal.answers import keys_on_disk, read_completions

MOMENTS = ("start", "answering", "sealing", "end")
SIGNALS = {"term": signal.SIGTERM, "hang up": signal.SIGHUP, "interrupt": signal.SIGINT}
OF_ANY = ("kill driver", "term driver", "full disk")
OF_FORKED = (*OF_ANY, "hang up driver", "interrupt driver", "pause driver", "inner", "inner", "inner")
"""`inner` stands for the kinds of `inner_faults`."""
OF_PROCESSES = (*OF_ANY, "kill worker", "kill both")
OF_OWN_RAY = (*OF_PROCESSES, "kill raylet", "term group", "hang up group")
OF_VLLM = (*OF_OWN_RAY, "term driver", "term group")
MOST_SESSIONS = 8
EXPECTED_ENDS = (0, 2, 75, 130, -signal.SIGKILL, -signal.SIGTERM, -signal.SIGHUP, -signal.SIGINT)
"""Exit codes of a poll that met a fault; a signal's own where it came before the command could take it."""
TRACEBACK = "Traceback (most recent call last)"
GUILTY = "7"
"""The document that kills the engine, in trials that have one."""


class ChaosTrial:
    """A trial, whose poll is not started yet.

    Args:
        poll: The poll.
        reference: An uninterrupted poll of the same job.
        draw: Source of faults, moments and damage.
        kinds: Faults to draw from.
        hang_timeout_s: `engine.hang_timeout_s` of the job.
        address: Of its endpoint, where it has one.
        guilty: Documents that kill the engine.
    """

    def __init__(
        self,
        poll: PollProcess,
        reference: Reference,
        draw: random.Random,
        *,
        kinds: Collection[str],
        hang_timeout_s: float = 600.0,
        address: Address | None = None,
        guilty: Collection[str] = (),
    ) -> None:
        self._poll, self._reference, self._draw = poll, reference, draw
        self._kinds, self._hang_timeout_s = tuple(kinds), hang_timeout_s
        self._address, self._guilty = address, frozenset(guilty)
        self._done: list[str] = []
        self._ends: list[int] = []
        self._processes_left = 0

    def run(self, faults: int) -> Record:
        """Runs the poll through at most so many faults, and then to its end."""
        for _ in range(faults):
            self._meet_one()
        begun_s = time.monotonic()
        kept, sessions = self._finish()
        return self._measured(kept, sessions) | {"recovery_s": round(time.monotonic() - begun_s, 2)}

    def _meet_one(self) -> None:
        poll, draw = self._poll, self._draw
        fault = draw.choice(self._kinds)
        if fault == "inner" and isinstance(poll, ForkedPoll):
            poll.inner = draw_inner(draw, hang_timeout_s=self._hang_timeout_s)
            self._done.append(str(poll.inner))
        if self._address is not None and draw.random() < 0.7:
            trouble = draw_trouble(draw, requests=len(self._reference.votes) // 2)
            trouble.first += self._address.asked
            self._address.troubles.append(trouble)
            self._done.append(str(trouble))
        poll.start()
        if fault != "inner":
            moment = draw.choice(MOMENTS)
            poll.wait_until(moment, draw, total=len(self._reference.votes), usual_start_s=self._reference.usual_start_s)
            if poll.is_running:
                self._done.append(f"{moment}: {fault}")
                self._processes_left += len(left_of(self._inflict(fault)))
        self._wait()
        if draw.random() < 0.5 and (damaged := self._damaged()):
            self._done.append(damaged)

    def _inflict(self, fault: str) -> list[psutil.Process]:
        """Does what the fault says; returns the processes that have to end as a consequence."""
        poll = self._poll
        action, _, victim = fault.rpartition(" ")
        if action == "kill" and victim != "raylet":
            return poll.kill(victim if victim != "worker" or poll.workers() else "driver")
        if action == "kill":
            poll.kill_named("raylet")
        elif action in SIGNALS and victim == "group":
            poll.send_group(SIGNALS[action])
        elif action in SIGNALS:
            poll.send(SIGNALS[action])
        elif action == "pause":
            poll.send(signal.SIGSTOP)
            time.sleep(1.5 * self._hang_timeout_s)
            poll.send(signal.SIGCONT)
        else:
            poll.fill_disk(self._draw.randrange(200_000))
        return []

    def _damaged(self) -> str | None:
        completions = self._poll.folder.completions
        places = {"journal": "journal-*.arrows", "part": "part-*.parquet"}
        there = [place for place, pattern in places.items() if any(completions.glob(pattern))]
        files = [path for pattern in places.values() for path in completions.glob(pattern)]
        if not there or not all(path.stat().st_size for path in files):
            return None
        return damage(completions, self._draw, kind=self._draw.choice(KINDS), place=self._draw.choice(there))

    def _wait(self) -> int:
        code = self._poll.wait()
        self._ends.append(code)
        if self._address is not None and code in (2, 75):
            self._address.mend()
        return code

    def _finish(self) -> tuple[Votes, int]:
        """Resumes the poll until it is done; returns the votes and the sessions that there were before the last."""
        if self._address is not None:
            self._address.mend()
        kept: Votes = {}
        sessions = 0
        for _ in range(MOST_SESSIONS):
            kept = whole_votes_of(self._poll.folder)
            sessions = len(sessions_of(self._poll.folder))
            self._poll.start()
            if self._wait() == 0:
                break
        return kept, sessions

    def _measured(self, kept: Votes, sessions: int) -> Record:
        folder, wanted, repeats = self._poll.folder, self._reference.votes, self._reference.repeats
        missing = len(wanted) - len(kept)
        asked = sum(session["answers"] for session in sessions_of(folder)[sessions:])
        answers = Counter(keys_on_disk(folder.completions))
        votes = votes_of(folder)
        said = self._poll.said
        errors = [each for each in read_completions(folder.completions) if each.error_kind is not None]
        unread = sum(label is None for label in votes.values()) - len(errors)
        innocent = [each for each in errors if each.document_id not in self._guilty]
        return {
            "trials": 1,
            "faults": "; ".join(self._done) or "none: it was over before",
            "rows_lost": len(wanted.keys() - answers.keys()),
            "asked_twice": answers.total() - len(answers) + max(0, asked - missing),
            "garbage": len(answers.keys() - wanted.keys()) + (0 if repeats else unread),
            "votes_changed": sum(votes.get(key) != label for key, label in (wanted if repeats else kept).items()),
            "innocents_convicted": len(innocent),
            "convicted_of": "; ".join(sorted({f"{each.error_kind}: {each.error}" for each in innocent}))[:300],
            "guilty_missed": len(self._guilty - {each.document_id for each in errors}),
            "processes_left": self._processes_left + len(left_of(self._poll.remains())),
            "odd_ends": sum(code not in EXPECTED_ENDS for code in self._ends),
            "ends": " ".join(map(str, self._ends)),
            "tracebacks": said.count(TRACEBACK),
            "traceback": TRACEBACK.join(said.split(TRACEBACK)[1:2])[-1500:],
            "sessions": len(self._ends),
        }


def secrets_in(folder: Path, planted: Collection[str]) -> int:
    """Number of files below a folder that hold one of the planted secrets."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return sum(any(secret.encode() in path.read_bytes() for secret in planted) for path in files)
