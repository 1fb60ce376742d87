"""What a poll has come to: its votes and sessions, and those of one that nothing happened to."""

import random
import time
from typing import NamedTuple

from xpoll.benchmarks.runner.records import Record
from xpoll.benchmarks.workloads.faults.poll_process import LABELS, PollProcess
from xpoll.core.files import read_json
from xpoll.core.records import Key
from xpoll.core.run_folder import RunFolder
from xpoll.engine.journal.answers import read_completions
from xpoll.votes.parse import to_vote

Votes = dict[Key, str | None]


class Reference(NamedTuple):
    """An uninterrupted poll: its votes, and the seconds to its first answers."""

    votes: Votes
    usual_start_s: float


def uninterrupted(poll: PollProcess) -> tuple[Reference, Record]:
    """Runs a poll without a kill; returns the reference for killed polls, and its record."""
    begun_s = time.monotonic()
    poll.start()
    usual_start_s = poll.wait_until("answering", random.Random(0), total=1, usual_start_s=0.0)
    poll.finish()
    reference = Reference(votes_of(poll.folder), usual_start_s)
    wall_s = time.monotonic() - begun_s
    return reference, {"votes": len(reference.votes), "start_s": round(usual_start_s, 2), "wall_s": round(wall_s, 2)}


def votes_of(folder: RunFolder) -> Votes:
    """Labels by key, as the vote parses them."""
    votes = (to_vote(completion, LABELS) for completion in read_completions(folder.completions))
    return {Key(vote.document_id, vote.persona_id, vote.sample): vote.label for vote in votes}


def sessions_of(folder: RunFolder) -> list[dict[str, float]]:
    """The sessions in engine.json; none before the first."""
    sessions: list[dict[str, float]] = read_json(folder.engine)["sessions"] if folder.engine.exists() else []
    return sessions
