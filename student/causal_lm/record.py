"""What a training and an evaluation of a language model say: contents of training.json and evaluation.json."""

from typing import Any, Literal

from xpoll.core.results import Part, Result

Interval = tuple[float, float]
"""Lower and upper end of a 95 % interval."""

Change = Literal["better", "worse", "within noise", "not measured"]
"""What fine-tuning did to the held-out perplexity: the interval of after over before is below 1, above 1, around 1."""


class LossPoint(Part):
    """Mean loss of the learned tokens since the point before, in nats, at a step."""

    step: int
    loss: float


class CausalTraining(Result):
    """training.json of a language model: settings, numbers of rows and tokens, time and losses (in nats)."""

    schema_version: int = 1
    kind: Literal["causal-lm"] = "causal-lm"
    model: str
    recipe: str
    lora: dict[str, Any]
    trainer: dict[str, Any]
    learning_rate: float
    batch_size: int
    max_length: int
    seed: int
    rows: int
    """Rows that were trained on."""
    held_out_rows: int
    """Rows that were not, because they measure the student."""
    left_out: int
    """Rows with a problem, or with a prompt that leaves no room for a completion."""
    cut_rows: int
    """Rows whose completion was cut at max_length."""
    learned_tokens: int
    """Tokens of completions, and of plain texts, of all rows that were trained on."""
    sequences: int
    """What a batch counts: rows, or packs of them."""
    parameters: int
    """Weights of the model."""
    trained_parameters: int
    epochs: float
    steps: int
    precision: str
    device: str
    wall_s: float
    tokens_per_s: float
    """Tokens of prompts and completions over the wall time; padding is not counted."""
    resumed_at_step: int
    final_loss: float
    losses: tuple[LossPoint, ...]
    seeds: tuple[int, ...] = ()
    """Seeds of all students that were trained alike, where there are several."""


class Perplexity(Part):
    """exp of the mean negative log-likelihood of the learned tokens of the held-out rows; the interval is over rows."""

    value: float
    ci95: Interval | None


class WrittenSample(Part):
    """What the model writes for a held-out prompt, greedily, before and after fine-tuning."""

    prompt: str
    completion: str
    """That of the row."""
    before: str
    after: str


class CausalEvaluation(Result):
    """evaluation.json of a language model; figures are None without held-out rows, or before any was scored.

    `ratio` is the perplexity after over the one before, on the same rows; its interval resamples pairs. `seeds` has the
    perplexity of every student that was trained alike, the first one's first; mean and sd are of these.
    """

    schema_version: int = 1
    kind: Literal["causal-lm"] = "causal-lm"
    held_out_rows: int
    held_out_tokens: int
    before: Perplexity | None = None
    after: Perplexity | None = None
    ratio: Perplexity | None = None
    seeds: tuple[Perplexity, ...] = ()
    seeds_mean: float | None = None
    seeds_sd: float | None = None
    change: Change = "not measured"
    samples: tuple[WrittenSample, ...] = ()
