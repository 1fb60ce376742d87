"""Reads how likely a model holds each label to be from vLLM, with no answer generated.

A read is a prompt with `logprob_token_ids`: beside the one token that vLLM samples, it returns the logprobs of
chosen tokens over the whole vocabulary. Where labels are longer, the sampling is held to the labels' tokens, so that
the engine itself follows the likeliest label and most walks end with the pass that they begin with.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

from xpoll.engine.backends.label_tree import LabelTree, Path, Walk

MOST_TOKENS = 128
"""vLLM's limit of `logprob_token_ids` (vllm/sampling_params.py, MAX_LOGPROB_TOKEN_IDS)."""


WALKS_AT_ONCE = 32
"""Prompts whose labels take several requests that are read at a time. The engine answers in the order of arrival: were
all prompts begun at once, the second requests of each would wait behind the first ones of all, and no prompt would have
an answer until nearly all are done, which looks like a hang."""


class Read(NamedTuple):
    """What was read for one prompt.

    Attributes:
        logprobs: Natural logarithm of each label's probability, normalised over the labels.
        unread: How many labels were too unlikely to be read to their end.
        prompt_tokens: Tokens of all requests that it took.
        cached_tokens: Tokens of these that the prefix cache held.
        output_tokens: Tokens that the engine sampled for them.
    """

    logprobs: tuple[float, ...]
    unread: int
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Ask:
    """One request of a walk: the tokens to tell of, and how far the engine may follow them."""

    tokens: tuple[int, ...]
    steps: int
    last: tuple[int, ...]

    def params(self) -> Any:
        """SamplingParams of the request."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        return SamplingParams(
            temperature=0,
            max_tokens=self.steps,
            logprob_token_ids=list(self.tokens),
            allowed_token_ids=list(self.tokens) if self.steps > 1 else None,
            stop_token_ids=list(self.last) if self.steps > 1 else None,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )


def asks_at(tree: LabelTree, path: Path) -> list[Ask]:
    """The requests that tell of every token after a beginning; one, unless more than MOST_TOKENS can follow."""
    below, following = tree.below(path), tree.following[path]
    if len(below) <= MOST_TOKENS:
        inner = {begun[-1] for begun in tree.following if len(begun) > len(path) and begun[: len(path)] == path}
        return [Ask(tuple(below), tree.depth(path), tuple(token for token in below if token not in inner))]
    return [Ask(tuple(following[i : i + MOST_TOKENS]), 1, ()) for i in range(0, len(following), MOST_TOKENS)]


class Reader:
    """Reads one closed set of labels, prompt by prompt.

    Args:
        tree: The labels' tokens.
        generate: Runs one request: token ids and SamplingParams to vLLM's RequestOutput.
    """

    def __init__(self, tree: LabelTree, generate: Callable[[list[int], Any], Awaitable[Any]]) -> None:
        self._tree, self._generate = tree, generate
        self._asks: dict[Path, list[Ask]] = {}
        self._turns = asyncio.Semaphore(WALKS_AT_ONCE) if tree.most_requests > 1 else nullcontext()

    async def read(self, prompt: Sequence[int]) -> Read:
        """The labels' probabilities after a prompt, given as token ids."""
        async with self._turns:
            return await self._walked(prompt)

    async def _walked(self, prompt: Sequence[int]) -> Read:
        walk, spent = Walk(self._tree), [0, 0, 0]
        while paths := walk.wanted():
            asked = [(path, ask) for path in paths for ask in self._asked(path)]
            outputs = await asyncio.gather(*(self._generate([*prompt, *path], ask.params()) for path, ask in asked))
            told: dict[Path, dict[int, float]] = {}
            for (path, _), output in zip(asked, outputs, strict=True):
                spent[0] += len(prompt) + len(path)
                spent[1] += output.num_cached_tokens or 0
                spent[2] += len(output.outputs[0].token_ids)
                self._take(path, output.outputs[0], told)
            for path in sorted(told, key=len):
                walk.learn(path, told[path])
        return Read(*walk.distribution(), *spent)

    def _asked(self, path: Path) -> list[Ask]:
        if path not in self._asks:
            self._asks[path] = asks_at(self._tree, path)
        return self._asks[path]

    def _take(self, path: Path, answer: Any, told: dict[Path, dict[int, float]]) -> None:
        """Notes what a request told of its beginning and of those that the engine went on to."""
        for token, options in zip(answer.token_ids, answer.logprobs, strict=True):
            if path not in self._tree.following:  # the engine has left the labels
                return
            told.setdefault(path, {}).update({token_id: option.logprob for token_id, option in options.items()})
            path = (*path, token)


def tree_of(labels: Sequence[str], encode: Callable[[str], list[int]], tail: str, end: int) -> LabelTree:
    """The tokens of labels where an answer begins.

    Args:
        labels: The labels.
        encode: A text's token ids.
        tail: What stands before the answer, back to the last control token of the chat template.
        end: Token that ends an answer.

    Raises:
        SameTokensError: a label has no token, or two labels have the same; says which.
    """
    before = encode(tail)
    tokens = []
    for label in labels:
        both = encode(tail + label)
        joined = both[: len(before)] == before
        tokens.append(both[len(before) :] if joined else encode(label))
    return LabelTree(tokens, end, labels)
