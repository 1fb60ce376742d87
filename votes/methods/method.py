"""What is known of a vote method beside its function."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from xpoll.core.records import SetVote
from xpoll.votes.ballots import Ballots, Shares


@dataclass(frozen=True, slots=True)
class VoteMethod:
    """A way to turn the votes about each document into a distribution over the labels.

    Attributes:
        function: From all votes of a run to the shares.
        needs_logprobs: Whether it reads how likely the engine held each label to be; the poll then asks for that.
        needs_content_free: Whether it reads the answers to `panel.content_free`, which the poll then has to ask about.
        learns_from_known: Whether it uses the labels of documents that a person has labelled.
        scales_by_known: Whether it fits its confidence to these labels itself, so that no recalibration follows.
        of_sets: From the documents and votes that have a probability for each label by itself to (documents, labels),
            which do not sum to 1; None where it reads no such probabilities.
        most_votes: Votes for which it takes half a minute or so; a comparison leaves it out above that. None if it
            counts millions.
        counts_alone: Whether each document is counted by its own votes, so that one that comes later is counted alike.
        kept: From the votes of a run to a function that counts documents which come later as the run counted its own;
            None where what the method learns from the run cannot be applied to one document.
    """

    function: Callable[[Ballots], Shares]
    needs_logprobs: bool = False
    needs_content_free: bool = False
    learns_from_known: bool = False
    scales_by_known: bool = False
    of_sets: Callable[[Sequence[str], Sequence[SetVote]], np.ndarray] | None = None
    most_votes: int | None = None
    counts_alone: bool = False
    kept: Callable[[Ballots], Callable[[Ballots], Shares]] | None = None

    def __call__(self, ballots: Ballots) -> Shares:
        """(documents, labels): the shares, as `function` gives them."""
        return self.function(ballots)
