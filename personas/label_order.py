"""The order in which a prompt names the labels, and how much the answers follow it.

A model prefers some places in a list whatever stands there. With `panel.label_order = "permuted"` each label
is named equally often in each place, over the personas and samples of a document and over documents, so
that the preference falls on all labels alike; and because it does, the places of the labels that were
voted show how strong it is.

Orders are rotations of the task's order: there are only as many as labels, so prompts that begin with
the labels have as many shared prefixes per persona, not a factorial of them.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from xpoll.core.files import read_json, read_object
from xpoll.core.records import Key, Vote
from xpoll.core.run_folder import RunFolder


class Shown(NamedTuple):
    """The orders that a run's prompts name the labels in, the same on every machine and in every session.

    Attributes:
        labels: The task's labels in their order.
        seed: `job.seed`.
        turns: Place of each persona in the panel. Where the text stands first it is empty: all personas of a
            text are shown one order then, because what they share ends where their prompts differ.
    """

    labels: tuple[str, ...]
    seed: int
    turns: Mapping[str, int]

    def rotation(self, key: Key) -> int:
        """Number of the label that is named first: by a hash of seed and document, one more for each turn and sample.

        As many personas, or samples, in a row as there are labels see each label once in each place.
        """
        asked = f"{self.seed}\x1f{key.document_id}".encode()
        start = int.from_bytes(hashlib.blake2b(asked, digest_size=8).digest(), "little")
        return (start + self.turns.get(key.persona_id, 0) + key.sample) % len(self.labels)

    def place(self, vote: Vote) -> int | None:
        """Where the voted label stood, from 0; None without a label."""
        if vote.label is None:
            return None
        first = self.rotation(Key(vote.document_id, vote.persona_id, vote.sample))
        return (self.labels.index(vote.label) - first) % len(self.labels)


def rotated(labels: Sequence[str], rotation: int) -> list[str]:
    """The labels, beginning with the one of that number."""
    return [*labels[rotation:], *labels[:rotation]]


def shown_orders(
    labels: Sequence[str], label_order: str, persona_ids: Sequence[str], prompt_order: str, *, seed: int
) -> Shown | None:
    """The orders of a run with this `panel.label_order`; None where the labels stand in one order."""
    if label_order == "fixed":
        return None
    turns = {name: place for place, name in enumerate(persona_ids)} if prompt_order == "persona_first" else {}
    return Shown(tuple(labels), seed, turns)


ShownBy = Mapping[str | None, Shown]
"""By teacher, the orders that its prompts name the labels in; one whose labels stood in one order is left out."""


def rotation_of(vote: Vote, shown: ShownBy) -> int:
    """Number of the label that the vote's prompt named first; 0 where its labels stood in one order."""
    orders = shown.get(vote.teacher)
    return orders.rotation(Key(vote.document_id, vote.persona_id, vote.sample)) if orders else 0


def shown_in(folder: RunFolder) -> ShownBy:
    """The orders of the run in a folder, from the config, panel and plan of each teacher."""
    found = {name: _shown_in_poll(poll) for name, poll in folder.polls().items()}
    return {name: shown for name, shown in found.items() if shown is not None}


def _shown_in_poll(folder: RunFolder) -> Shown | None:
    config = read_object(folder.config)
    if config["panel"]["label_order"] == "fixed":
        return None
    panel = read_object(folder.require(folder.panel, step="poll"), "personas")
    return shown_orders(
        list(config["task"]["labels"]),
        config["panel"]["label_order"],
        [persona["persona_id"] for persona in panel["personas"]],
        read_json(folder.require(folder.plan, step="poll"))["prompt_order"],
        seed=config["job"]["seed"],
    )


class PositionBias(NamedTuple):
    """How often the voted label stood in each place of the order that was shown.

    Attributes:
        counts: Votes for the label in each place, first to last.
        shares: The same as shares of all votes; each is 1 / places without a bias.
        chi_square: Pearson's statistic against equal shares.
        p_value: How likely a statistic this large is without a bias.
    """

    counts: list[int]
    shares: list[float]
    chi_square: float
    p_value: float

    def as_json(self) -> dict[str, Any]:
        """For metrics.json: shares by place, the largest gap, and the p-value."""
        return {"shares": self.shares, "largest_gap": self.largest_gap, "p_value": self.p_value}

    @property
    def largest_gap(self) -> float:
        """Largest distance of a share from an equal one: the effect's size, which does not grow with the votes."""
        return max(abs(share - 1 / len(self.shares)) for share in self.shares)


def position_bias(votes: Iterable[Vote], shown: ShownBy) -> PositionBias | None:
    """The bias of votes whose prompts named the labels in these orders; None without a readable vote.

    Rotation makes every place equally likely for every label, so unequal shares are the place's doing
    and not the labels'. The answers about one document see different places and mostly name the same
    label; where there are several, the p-value is larger than it need be, never smaller.
    """
    if not shown:
        return None
    counts = [0] * len(next(iter(shown.values())).labels)
    for vote in votes:
        orders = shown.get(vote.teacher)
        if orders and (place := orders.place(vote)) is not None:
            counts[place] += 1
    if not (total := sum(counts)):
        return None
    from scipy.stats import chisquare  # voting imports this module, and SciPy takes longer to load than it does

    test = chisquare(counts)
    return PositionBias(counts, [count / total for count in counts], float(test.statistic), float(test.pvalue))
