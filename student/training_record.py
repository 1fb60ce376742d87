"""What a training says of itself: the contents of training.json, one version of it."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from xpoll.core.results import Part, Result


@dataclass(frozen=True, slots=True)
class Point:
    """A student trained on `rows` voted texts, and its share of held-out votes met."""

    rows: int
    accuracy: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a student trained on `rows` texts is expected to get; `floor` is the error that no number removes."""

    rows: int
    accuracy: float
    gain: float
    """Beyond the largest point's fitted accuracy, 0 to 1."""
    floor: float


class FineTuning(NamedTuple):
    """How one fine-tuning went. `final_loss` is the mean over its last twentieth, in nats."""

    precision: str
    device: str
    wall_s: float
    final_loss: float
    held_out_loss: float | None
    """Of the weights that were kept; None without held-out rows."""
    epochs: float
    """Passes that were made: fewer than asked for where the held-out loss rose."""
    resumed_at: int
    """Step of the checkpoint that it resumed from; 0 if it began."""


class SeedResult(Part):
    """One of several students that differ in their seed alone."""

    seed: int
    held_out_accuracy: float | None
    final_loss: float


class Training(Result):
    """A trained student: settings, numbers of texts, time and losses (in nats)."""

    schema_version: Literal[1] = 1
    encoder: str
    recipe: str
    soft_labels: bool
    learning_rate: float
    batch_size: int
    max_length: int
    seed: int
    backend: Literal["native", "ipex"]
    head: str = "label"
    """What kind of student it is: one of student/heads/registry.py."""
    rows: int
    """Voted texts, held-out and pruned ones included."""
    held_out_rows: int
    abstained: int
    """Texts without a label, which are left out."""
    measured_on: int = 0
    """Texts that are gold rows, too, which are left out."""
    label_counts: dict[str, int]
    pruned: int
    """Texts whose vote was left out."""
    members: int
    """Students whose mean answers it was trained on; 0 for the votes themselves."""
    variants: int
    """Made-up texts per text that those have labelled, too."""
    epochs: float
    precision: str
    device: str
    wall_s: float
    rows_per_s: float
    resumed_at_step: int
    final_loss: float
    held_out_loss: float | None
    held_out_accuracy: float | None
    """Share of votes met of held-out texts; without these and with a pruning recipe, by students of other texts."""
    temperature: float
    seeds: tuple[SeedResult, ...] = ()
    """Of all students, where there are several."""
    held_out_accuracy_mean: float | None = None
    held_out_accuracy_sd: float | None = None
    learning_curve: tuple[Point, ...] = ()
    forecast: Forecast | None = None
