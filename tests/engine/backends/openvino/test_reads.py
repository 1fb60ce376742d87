"""Labels are read from echoed prompts, on a model of known probabilities and a cache as GenAI's."""

import asyncio
import math
from collections.abc import Sequence

import pytest

from xpoll.engine.backends.label_tree import LabelTree
from xpoll.engine.backends.openvino.reads import LabelsRead, read_labels

VOCABULARY, END = 7, 0
BLOCK = 32


def logprob(before: Sequence[int], token: int) -> float:
    """Of a token after a text: any function of both that is a distribution."""
    weights = [1 + (sum(before) * 31 + len(before) * 7 + each * 13) % 11 for each in range(VOCABULARY)]
    return math.log(weights[token] / sum(weights))


class CachedModel:
    """Echoes prompts; keeps the blocks of those that it has seen, and tells nothing of what it does not compute."""

    def __init__(self, *, begins_with: int | None = None) -> None:
        self.seen: list[list[int]] = []
        self.requests: list[int] = []
        self.forced = 0
        self._begins_with = begins_with

    async def echoed(self, prompts: Sequence[list[int]]) -> list[list[float]]:
        self.requests.append(len(prompts))
        held = [self._held(prompt) for prompt in prompts]
        self.seen += prompts
        return [
            [logprob(prompt[:i], prompt[i]) for i in range(cached + 1 if cached else 1, len(prompt))]
            for prompt, cached in zip(prompts, held, strict=True)
        ]

    def _held(self, prompt: list[int]) -> int:
        """Tokens that come out of the cache: whole blocks, or all but the last of what was computed already."""
        if prompt in self.seen:
            return len(prompt) - 1
        whole = range(len(prompt) // BLOCK * BLOCK, 0, -BLOCK)
        return next((n for n in whole if any(prompt[:n] == seen[:n] for seen in self.seen)), 0)

    async def force(self, prompt: list[int], place: int) -> float | None:
        self.forced += 1
        first = LABELS[place][0]
        return logprob(prompt, first) if self._begins_with in (None, first) else None


LABELS = [[1], [2, 3], [2, 4, 5], [6]]


def read(model: CachedModel, prompt: list[int], labels: list[list[int]] = LABELS) -> LabelsRead:
    tree = LabelTree(labels, END, list("abcd"))
    return asyncio.run(read_labels(prompt, tree, model.echoed, model.force))


def exact(prompt: list[int]) -> list[float]:
    told = [sum(logprob([*prompt, *label[:i]], label[i]) for i in range(len(label))) for label in LABELS]
    total = math.log(sum(map(math.exp, told)))
    return [each - total for each in told]


@pytest.mark.parametrize("length", [*range(1, 4), *range(14, 18), *range(28, 36), *range(60, 67)])
def test_the_distribution_is_exact_at_any_place_in_the_cache(length: int) -> None:
    model = CachedModel()
    model.seen.append([3] * (length - 1) + [1, 1])  # prompts before it share all but its end
    prompt = [3] * (length - 1) + [4]
    found = read(model, prompt)
    assert found.logprobs == pytest.approx(exact(prompt))
    assert (found.unread, model.forced) == (0, 0)
    assert found.prompt_tokens == sum(length + len(label) for label in LABELS)


def test_the_prompt_is_computed_once_where_the_cache_allows_it() -> None:
    model = CachedModel()
    read(model, [3] * 40)
    assert model.requests == [1, 3]
    read(model, [4] * 32)
    assert model.requests[2:] == [4]


def test_a_prompt_that_was_computed_already_is_read_by_force() -> None:
    model, prompt = CachedModel(), [3] * 40
    model.seen += [[*prompt, 1], [*prompt, 6]]
    found = read(model, prompt)
    assert found.logprobs == pytest.approx(exact(prompt))
    assert (found.unread, model.forced) == (0, 2)


def test_a_label_that_cannot_be_read_is_a_bound() -> None:
    model, prompt = CachedModel(begins_with=6), [3] * 40
    model.seen += [[*prompt, 1], [*prompt, 6]]
    found = read(model, prompt)
    assert found.unread == 1
    assert found.logprobs[0] == min(found.logprobs)
    assert sum(map(math.exp, found.logprobs)) == pytest.approx(1)
