"""What a poll has come to: its votes and sessions, and those of one that nothing happened to."""

import random
import time
from collections.abc import Iterable
from typing import NamedTuple

import pyarrow as pa

from xpoll.benchmarks.runner.records import Record
from xpoll.benchmarks.workloads.faults.poll_process import LABELS, PollProcess
from xpoll.core.files import read_json
from xpoll.core.records import Completion, Key, from_table
from xpoll.core.run_folder import RunFolder
from xpoll.engine.journal.answers import read_completions, take_inventory, whole_batches
from xpoll.votes.parse import to_vote

Votes = dict[Key, str | None]


class Reference(NamedTuple):
    """An uninterrupted poll.

    Attributes:
        votes: Its votes.
        usual_start_s: Seconds to its first answers.
        repeats: Whether its engine gives the same prompt the same answer, whatever is computed beside it.
    """

    votes: Votes
    usual_start_s: float
    repeats: bool = True


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
    return _labels(read_completions(folder.completions))


def whole_votes_of(folder: RunFolder) -> Votes:
    """As `votes_of`, of the answers that are whole where others are damaged."""
    batches = whole_batches(take_inventory(folder.completions))
    return _labels(each for batch in batches for each in from_table(pa.Table.from_batches([batch]), Completion))


def _labels(completions: Iterable[Completion]) -> Votes:
    votes = (to_vote(completion, LABELS) for completion in completions)
    return {Key(vote.document_id, vote.persona_id, vote.sample): vote.label for vote in votes}


def sessions_of(folder: RunFolder) -> list[dict[str, float]]:
    """The sessions in engine.json; none before the first."""
    sessions: list[dict[str, float]] = read_json(folder.engine)["sessions"] if folder.engine.exists() else []
    return sessions
