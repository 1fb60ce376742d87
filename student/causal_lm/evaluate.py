"""Scores a language model on held-out rows before and after it was fine-tuned. Nothing here imports torch."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xpoll.core.config.student import StudentConfig
from xpoll.core.statistics import mean_and_spread
from xpoll.student.causal_lm.examples import TrainingExample, of_split
from xpoll.student.causal_lm.folder import other_adapters, read_causal_training
from xpoll.student.causal_lm.record import CausalEvaluation, Change, Interval, Perplexity, WrittenSample
from xpoll.student.causal_lm.tokens import Encoded, encode

RESAMPLES = 2000
SAMPLES = 8
MOST_SAMPLE_TOKENS = 256


def evaluate_causal(
    examples: Sequence[TrainingExample], student: Path, *, config: StudentConfig, samples: int = SAMPLES
) -> CausalEvaluation:
    """Perplexity of the held-out rows before and after, of every seed, and what the model writes for their prompts.

    Args:
        examples: All rows, as the student was trained on them.
        student: The student's folder.
        config: The [student] section.
        samples: For how many held-out prompts completions are written.

    Raises:
        ModelError: the student or its base cannot be loaded.
    """
    precision = read_causal_training(student).precision
    held_out = of_split(examples, "held_out")
    if not held_out:
        return CausalEvaluation(held_out_rows=0, held_out_tokens=0)
    from xpoll.student.causal_lm.inference.generate import completions
    from xpoll.student.causal_lm.inference.perplexity import row_losses
    from xpoll.student.causal_lm.training.model import load_base, load_language_model, load_tokenizer, with_adapter

    encoded = encode(load_tokenizer(config), held_out, max_length=config.max_length)
    if not encoded.rows:
        return CausalEvaluation(held_out_rows=0, held_out_tokens=0)
    base = load_base(config, precision=precision)
    shown = _shown(held_out, encoded, samples)
    prompts = [encoded.rows[place][1].ids[: encoded.rows[place][1].start] for place in shown]
    room = min(
        MOST_SAMPLE_TOKENS,
        max((len(encoded.tokens[place].ids) - len(ids) for place, ids in zip(shown, prompts, strict=True)), default=0)
        + 16,
    )

    def losses(tokenizer: Any, model: Any) -> np.ndarray:
        return row_losses(model, encoded.tokens, pad=int(tokenizer.pad_token_id))

    before = losses(*base)
    written_before = completions(*base, prompts, most_tokens=room)
    others = []
    for adapter in other_adapters(student):
        with with_adapter(base, adapter) as model:
            others.append(losses(base.tokenizer, model))
    del base
    tuned = load_language_model(str(student), name=f"student {student}", precision=precision)
    after = losses(*tuned)
    written_after = completions(*tuned, prompts, most_tokens=room)
    tokens = np.array([row.learned for row in encoded.tokens])
    rows = [held_out[encoded.rows[place][0]] for place in shown]
    made = [
        WrittenSample(
            prompt="\n".join(each["content"] for each in row.messages), completion=row.completion, before=a, after=b
        )
        for row, a, b in zip(rows, written_before, written_after, strict=True)
    ]
    return scored(before, [after, *others], tokens).model_copy(update={"samples": tuple(made)})


def scored(before: np.ndarray, after: Sequence[np.ndarray], tokens: np.ndarray) -> CausalEvaluation:
    """The figures of held-out rows.

    Args:
        before: (rows,) summed negative log-likelihood of the untrained model, in nats.
        after: The same of each student, the first one's first.
        tokens: (rows,) learned tokens.
    """
    ratio = perplexity(after[0] - before, tokens)
    seeds = [perplexity(each, tokens) for each in after]
    mean, spread = mean_and_spread([each.value for each in seeds]) if len(seeds) > 1 else (None, None)
    return CausalEvaluation(
        held_out_rows=len(tokens),
        held_out_tokens=int(tokens.sum()),
        before=perplexity(before, tokens),
        after=seeds[0],
        ratio=ratio,
        seeds=tuple(seeds) if len(seeds) > 1 else (),
        seeds_mean=mean,
        seeds_sd=spread,
        change=change_of(ratio.ci95),
    )


def perplexity(losses: np.ndarray, tokens: np.ndarray) -> Perplexity:
    """exp of the mean loss of a token, with a 95 % percentile bootstrap interval over rows; of differences, the ratio.

    Args:
        losses: (rows,) sums in nats.
        tokens: (rows,) tokens that each is the sum over, at least 1.
    """
    from scipy.stats import bootstrap

    def value(nats: np.ndarray, number: np.ndarray, axis: int = -1) -> np.ndarray:
        ratio: np.ndarray = np.exp(nats.sum(axis) / number.sum(axis))
        return ratio

    if len(losses) < 2:
        return Perplexity(value=float(value(losses, tokens)), ci95=None)
    found = bootstrap(
        (losses, tokens),
        value,
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    ends = float(found.low), float(found.high)
    return Perplexity(value=float(value(losses, tokens)), ci95=ends if all(map(math.isfinite, ends)) else None)


def change_of(ratio: Interval | None) -> Change:
    """The word for an interval of perplexity after over before."""
    if ratio is None:
        return "not measured"
    return "better" if ratio[1] < 1 else "worse" if ratio[0] > 1 else "within noise"


def _shown(held_out: Sequence[TrainingExample], encoded: Encoded, most: int) -> list[int]:
    """Places among the encoded rows whose prompts are completed: the first ones that have a prompt."""
    return [place for place, (number, _) in enumerate(encoded.rows) if held_out[number].prompt is not None][:most]
