"""How a run's vote counts a document that comes later, by itself: what of the method can be applied to one document.

A method that counts each document by its own votes is applied as it is. One that takes a bias out is applied with the
bias that the run's votes show. What else is learned from all documents of a run (whom to believe, from agreement)
cannot be applied to one of them alone; then majorities are counted, and `words` says so.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from xpoll.core.config.job import Config
from xpoll.core.record_files import stream_records
from xpoll.core.records import Vote
from xpoll.core.run_folder import RunFolder
from xpoll.personas.label_order import shown_in
from xpoll.votes.ballots import Ballots, Shares, ballots_of
from xpoll.votes.methods.counting import majority
from xpoll.votes.methods.registry import method_of
from xpoll.votes.review.sample import answers_of, read_review


class LaterCount(NamedTuple):
    """How later documents are counted.

    Attributes:
        function: From the votes about them to shares.
        words: What is applied, for people.
    """

    function: Callable[[Ballots], Shares]
    words: str


def later_count(config: Config, run: RunFolder | None) -> LaterCount:
    """How a document that comes later is counted.

    Args:
        config: The job.
        run: A run of it that was voted on; None where there is none.

    Raises:
        ConfigError: the job's method is not known.
        InputError: the run's votes have no logprobs, and the method needs them.
    """
    name = config.vote.method
    method = method_of(name)
    if method.counts_alone:
        return LaterCount(_or_nothing(method.function) if method.needs_logprobs else method.function, name)
    if method.kept is None:
        return LaterCount(majority, f"majority: {name} learns from all texts of a run and cannot count one alone")
    if run is None or (method.needs_content_free and not run.probes.exists()):
        return LaterCount(majority, f"majority: {name} needs the votes of a run of this job, and none is there")
    ballots = _ballots(config, run)
    counted = _or_nothing(method.kept(ballots))
    return LaterCount(counted, f"{name}, with the label bias of {len(ballots.label_of)} votes of the run")


def _or_nothing(function: Callable[[Ballots], Shares]) -> Callable[[Ballots], Shares]:
    """The function, which needs logprobs; documents without any have no shares."""

    def count(ballots: Ballots) -> Shares:
        if ballots.distributions is None or np.isnan(ballots.distributions).all():
            return np.full((ballots.num_documents, len(ballots.labels)), np.nan)
        return function(ballots)

    return count


def _ballots(config: Config, run: RunFolder) -> Ballots:
    votes = list(stream_records(run.require(run.votes, step="vote"), Vote))
    document_ids = dict.fromkeys(vote.document_id for vote in votes)
    answered = answers_of(read_review(run.review)) if config.vote.learn_from_review else {}
    return ballots_of(
        list(document_ids),
        votes,
        list(config.task.labels),
        priors=config.task.label_priors,
        known={name: label for name, label in answered.items() if name in document_ids},
        shown=shown_in(run),
        probes=stream_records(run.probes, Vote) if run.probes.exists() else (),
    )
