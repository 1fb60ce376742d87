"""What a training is given and what it says of itself. Imports no torch."""

from collections.abc import Sequence
from typing import NamedTuple


class Rows(NamedTuple):
    """Texts with one target a label each; the targets of a row add up to its weight."""

    texts: Sequence[str]
    targets: Sequence[Sequence[float]]


class FineTuning(NamedTuple):
    """How a training went. `final_loss` is the mean over its last twentieth, in nats."""

    precision: str
    device: str
    wall_s: float
    final_loss: float
    held_out_loss: float | None
    """Of the weights that were kept; None without held-out rows."""
    epochs: float
    """Passes that were made: fewer than asked for where the held-out loss rose."""
    resumed_at: int
    """Step that a checkpoint let it go on from; 0 if it began."""
