"""Reads how likely a model holds each label to be, with no answer generated.

GenAI tells the logprob of each token of an echoed prompt over the whole vocabulary. So a label is read as the end of a
prompt: one request for each label, with prompt and label, of which the label's tokens count. The prompt itself is
computed with the first one and comes out of the prefix cache for the others.

The logprob of a token is not told where the cache ends right before it, because the token before is not computed again.
That is so for a sequence that was computed already, and where a block of the cache ends behind the prompt or within a
label. The first is met by the owner, who keeps what was read; the second by asking for all labels at once, so that none
finds another's blocks.
"""

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from xpoll.engine.backends.label_tree import LabelTree, Path

BLOCK = 16
"""Divides the blocks of the KV cache on every device: 32 tokens on processors, 16 on GPUs."""
LEAST_LOGPROB = -600.0

Echoed = Callable[[Sequence[list[int]]], Awaitable[list[list[float]]]]
"""From prompts, which begin in the same step, to the logprobs of each one's tokens, without as many at its beginning as
came out of the cache."""
Forced = Callable[[list[int], int], Awaitable[float | None]]
"""From a prompt and the place of a label to the logprob of the label's first token after it; None where the model
begins the label with another token."""


class LabelsRead(NamedTuple):
    """What was read for one prompt; GenAI says nothing of the cache.

    Attributes:
        logprobs: Natural logarithm of each label's probability, normalised over the labels.
        unread: How many labels could not be read, and have the least probability of those that could.
        prompt_tokens: Tokens of all requests that it took.
        output_tokens: Tokens that were sampled for them.
    """

    logprobs: tuple[float, ...]
    unread: int
    prompt_tokens: int
    output_tokens: int


async def read_labels(prompt: list[int], tree: LabelTree, echoed: Echoed, forced: Forced) -> LabelsRead:
    """The labels' probabilities after a prompt.

    Args:
        prompt: Token ids.
        tree: The labels' tokens.
        echoed: Runs requests.
        forced: Runs a request that is held to a label.
    """
    paths = list(tree.label_at)
    longest = max(map(len, paths))
    a_block_ends = len(prompt) // BLOCK != (len(prompt) + longest - 1) // BLOCK or len(prompt) % BLOCK == 0
    groups = [paths] if a_block_ends else [paths[:1], paths[1:]]
    told = [logprobs for group in groups if group for logprobs in await echoed([[*prompt, *path] for path in group])]
    found = {}
    prompt_tokens, output_tokens = sum(len(prompt) + len(path) for path in paths), len(paths)
    for path, logprobs in zip(paths, told, strict=True):
        place, known = tree.label_at[path], logprobs[-len(path) :]
        found[place] = sum(known) if len(known) == len(path) else None
        if found[place] is None and len(known) == len(path) - 1:
            first = await forced(prompt, place)
            found[place] = None if first is None else first + sum(known)
            prompt_tokens, output_tokens = prompt_tokens + len(prompt), output_tokens + 1
    return LabelsRead(*_normalised([found[place] for place in range(len(found))]), prompt_tokens, output_tokens)


def _normalised(found: Sequence[float | None]) -> tuple[tuple[float, ...], int]:
    known = [logprob for logprob in found if logprob is not None]
    least = min(known, default=0.0)
    logprobs = [least if logprob is None else logprob for logprob in found]
    top = max(logprobs)
    total = top + math.log(sum(math.exp(logprob - top) for logprob in logprobs))
    return tuple(max(logprob - total, LEAST_LOGPROB) for logprob in logprobs), len(found) - len(known)


def first_token(tree: LabelTree, place: int) -> int:
    """The token that a label begins with."""
    path: Path = next(path for path, at in tree.label_at.items() if at == place)
    return path[0]
