"""Options and answers of the simulated engine; answers are draws that depend on key and seed alone.

Without choices, a free text is one word repeated, and a JSON answer is "{}" whatever its schema.
"""

import json
import math
import struct
from functools import lru_cache
from hashlib import blake2b
from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from xpoll.core.config.job import Section
from xpoll.core.records import AnswerSchema, Prompt
from xpoll.engine.planning.rooflines import MODEL_SHAPES, ROOFLINES

LEAST_PROBABILITY = 1e-9  # a choice that no answer ever names still needs a finite logarithm

Share = Annotated[float, Field(ge=0, le=1)]
Efficiency = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class SimulatedOptions(Section):
    """The table [engine.simulated]."""

    device: str = "max-1550-tile"
    """Device whose roofline sets the times, see engine/planning/rooflines.py; or a file that `xpoll kernels` wrote."""
    model_shape: str = "llama-3.1-8b"
    """Model whose weights and KV cache set the times; see engine/planning/rooflines.py."""
    compute_efficiency: Efficiency = 1.0
    """Share of the device's peak arithmetic that is reached."""
    bandwidth_efficiency: Efficiency = 1.0
    """Share of the device's peak bandwidth that is reached."""
    time_scale: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    """Real seconds that a simulated second takes; 0 answers at once, without any batch."""
    max_num_seqs: Annotated[int, Field(ge=1)] = 256
    """Most prompts in the running batch."""
    choice_output_tokens: Positive = 3.0
    """Mean length of a bare choice in tokens; no answer is longer than the prompt's max_tokens."""
    text_output_tokens: Positive = 64.0
    """Mean length of a free text in tokens; no answer is longer than the prompt's max_tokens."""
    json_output_tokens: Positive = 48.0
    """Mean length of a JSON answer in tokens; no answer is longer than the prompt's max_tokens."""
    seed: int = 0
    """Another seed draws other hidden true choices and other answers."""
    agreement: Share = 0.85
    """Probability that an answer is the hidden true choice of its document."""
    fail_share: Share = 0.0
    """Share of the prompts that end as an error row, drawn by key."""
    die_on: list[str] = []
    """Ids of documents whose prompt, once it runs, kills the engine with everything in flight."""
    hang_on: list[str] = []
    """Ids of documents whose prompt, once it runs, stops the engine: it answers nothing any more."""
    exit_on: list[str] = []
    """Ids of documents whose prompt, once it runs, ends the whole process."""
    lose_device_after_answers: int | None = Field(default=None, ge=0)
    """How many answers an engine gives before its device is lost, error rows not counted; never without it."""
    lose_device_workers: list[str] = []
    """Workers whose device is lost; empty means all."""
    lost_devices_folder: str | None = None
    """Folder that remembers lost devices: their engines do not start again. Without it a new engine is in order."""
    slow_workers: dict[str, Positive] = {}
    """How many times longer a step takes, by worker; nothing takes long with time_scale = 0."""

    @field_validator("device", "model_shape")
    @classmethod
    def _is_in_its_table(cls, name: str, field: ValidationInfo) -> str:
        known = ROOFLINES if field.field_name == "device" else MODEL_SHAPES
        if name not in known and not (field.field_name == "device" and name.endswith(".json")):
            raise ValueError(f"{name!r} is none of {', '.join(known)}")
        return name


@lru_cache(maxsize=4096)
def true_choice(document_id: str, choices: tuple[str, ...], seed: int = 0) -> str:
    """The hidden true choice of a document, independent of the order of the choices."""
    return sorted(choices)[draws(f"document\x1f{seed}\x1f{document_id}")[0] % len(choices)]


def draws(identity: str) -> tuple[int, ...]:
    """Four independent numbers below 2**32, drawn from a hash of `identity`."""
    return struct.unpack("<4I", blake2b(identity.encode(), digest_size=16).digest())


def draw_choice(choices: tuple[str, ...], truth: str, agreement: float, agrees: int, other: int) -> str:
    """The truth with the probability `agreement`, otherwise one of the other choices, uniformly.

    Args:
        choices: The choices.
        truth: The true one.
        agreement: Probability of the truth, 0 to 1.
        agrees: A draw below 2**32 that decides whether the answer is the truth.
        other: A draw below 2**32 that decides which other choice it is.
    """
    if agrees < agreement * 2**32 or len(choices) == 1:
        return truth
    others = sorted(choice for choice in choices if choice != truth)
    return others[other % len(others)]


FITTING_SHARE = 0.25
"""Probability that a choice is in the hidden true set of a document, where each choice is asked about by itself."""


def draw_yes_logprobs(
    document_id: str, answer_id: str, choices: tuple[str, ...], seed: int, agreement: float
) -> tuple[float, ...]:
    """Natural logarithms of P(yes), one per choice: `agreement` or the rest, as drawn for each choice by itself.

    Args:
        document_id: Decides, with the seed, which choices are in the hidden true set.
        answer_id: Decides, with the seed, which answers agree with it.
        choices: The choices.
        seed: Another seed draws other sets and answers.
        agreement: Probability that the likelier of yes and no is right.
    """
    found = []
    for choice in choices:
        fits = draws(f"fits\x1f{seed}\x1f{document_id}\x1f{choice}")[0] < FITTING_SHARE * 2**32
        agrees = draws(f"yes\x1f{seed}\x1f{answer_id}\x1f{choice}")[0] < agreement * 2**32
        found.append(math.log(max(agreement if fits == agrees else 1 - agreement, LEAST_PROBABILITY)))
    return tuple(found)


@lru_cache(maxsize=256)
def drawn_logprobs(choices: tuple[str, ...], truth: str, agreement: float) -> tuple[float, ...]:
    """Natural logarithms of the distribution that `draw_choice` draws from, one per choice."""
    if len(choices) == 1:
        return (0.0,)
    other = (1 - agreement) / (len(choices) - 1)
    shares = [agreement if choice == truth else other for choice in choices]
    return tuple(math.log(max(share, LEAST_PROBABILITY)) for share in shares)


@lru_cache(maxsize=256)
def json_text(choice_property: str | None, choice: str) -> str:
    """A JSON answer with the choice in its property, "label" if there is none."""
    return json.dumps({"reason": "simulated", choice_property or "label": choice}, ensure_ascii=False)


def draw_text(output_tokens: int, word: int) -> str:
    """A free text of `output_tokens` words, all the same."""
    return " ".join([f"w{word % 1000}"] * output_tokens)


def draw_length(prompt: Prompt, options: SimulatedOptions, length: int) -> int:
    """Tokens of an answer: uniform from 0.5 to 1.5 times the mean, at most the prompt's max_tokens; of a read, one.

    Args:
        prompt: The prompt.
        options: Has the means.
        length: A draw below 2**32.
    """
    if prompt.answer.read:
        return 1
    drawn = max(1, round(mean_length(prompt.answer, options) * (0.5 + length / 2**32)))
    return drawn if prompt.sampling.max_tokens is None else min(drawn, prompt.sampling.max_tokens)


def mean_length(schema: AnswerSchema, options: SimulatedOptions) -> float:
    """Mean tokens of answers of a schema, that of a read aside."""
    if schema.json_schema is not None:
        return options.json_output_tokens
    return options.choice_output_tokens if schema.choices else options.text_output_tokens
