"""The draws of `draws.py` for many prompts at once that name choices and have one schema; each draw is the same."""

from collections.abc import Sequence
from hashlib import blake2b
from operator import itemgetter

import numpy as np
import pyarrow as pa

from xpoll.core.records import Prompt
from xpoll.engine.backends.simulated.draws import SimulatedOptions, drawn_logprobs, json_text, mean_length

Draws = np.ndarray
_content_of = itemgetter("content")


def drawn_batch(prompts: Sequence[Prompt], options: SimulatedOptions, *, room_tokens: int) -> pa.RecordBatch | None:
    """What the engine answers, as columns.

    Args:
        prompts: At least one.
        options: Of the engine.
        room_tokens: Most tokens of a prompt and its answer.

    Returns:
        None where they are not alike, name no choices, or one does not fit; those are drawn by themselves.
    """
    schema, sampling = prompts[0].answer, prompts[0].sampling
    if any(prompt.answer is not schema or prompt.sampling is not sampling for prompt in prompts):
        return None
    choices = sorted(set(schema.choices))
    if len(choices) < max(1, len(schema.choices)) or schema.questions:
        return None
    seed, number = options.seed, len(prompts)
    keys = [f"{seed}\x1f{prompt[0]}\x1f{prompt[1]}\x1f{prompt[2]}" for prompt in prompts]
    agrees, other, length, _ = _draws(keys).T
    truth = _draws([f"document\x1f{seed}\x1f{prompt[0]}" for prompt in prompts])[:, 0] % len(choices)
    drawn = truth
    if len(choices) > 1:
        wrong = other % (len(choices) - 1)
        drawn = np.where(agrees < options.agreement * 2**32, truth, wrong + (wrong >= truth))
    output = np.ones(number, np.int64)
    if not schema.read:
        output = np.maximum(1, np.rint(mean_length(schema, options) * (0.5 + length / 2**32)).astype(np.int64))
        if sampling.max_tokens is not None:
            output = np.minimum(output, sampling.max_tokens)
    characters = [sum(map(len, map(_content_of, prompt.messages))) for prompt in prompts]
    tokens = np.maximum(1, np.array(characters) // 4)
    if (tokens + output).max() > room_tokens:
        return None
    said = choices if schema.json_schema is None else [json_text(schema.choice_property, each) for each in choices]
    columns = {
        "text": pa.array(said, pa.string()).take(pa.array(drawn)),
        "finish_reason": pa.repeat("stop", number),
        "prompt_tokens": pa.array(tokens, pa.int32()),
        "output_tokens": pa.array(output, pa.int32()),
    }
    if schema.logprobs:
        each = [drawn_logprobs(schema.choices, choice, options.agreement) for choice in choices]
        likeliest = drawn if schema.read else truth
        columns["choice_logprobs"] = pa.array(each, pa.list_(pa.float32())).take(pa.array(likeliest))
    return pa.RecordBatch.from_pydict(columns)


def _draws(identities: list[str]) -> Draws:
    """As `draws.draws`, one row each."""
    digests = b"".join([blake2b(each.encode(), digest_size=16).digest() for each in identities])
    return np.frombuffer(digests, "<u4").reshape(-1, 4)
