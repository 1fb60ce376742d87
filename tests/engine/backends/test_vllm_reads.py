"""Reads from an engine that answers as vLLM does: what is asked of it, and what is made of its answers."""

import asyncio
import math
from types import SimpleNamespace
from typing import Any

import pytest

from tests.engine.backends.test_label_tree import END, model, written
from tests.engine.backends.test_label_tree import tree_of as tree_of_paths
from xpoll.engine.backends.label_tree import TOLERANCE, Path, SameTokensError
from xpoll.engine.backends.vllm.reads import MOST_TOKENS, WALKS_AT_ONCE, Reader, asks_at, tree_of

PROMPT = [50, 51, 52]
LABELS = [(0,), (1, 2), (1, 3, 4), (1, 3)]


class Engine:
    """Samples the likeliest allowed token at each step, as vLLM does at temperature 0, and tells of those asked for."""

    def __init__(self, seed: int) -> None:
        self._seed, self.requests = seed, 0

    async def generate(self, token_ids: list[int], params: Any) -> Any:
        self.requests += 1
        assert token_ids[: len(PROMPT)] == PROMPT
        assert len(params.logprob_token_ids) <= MOST_TOKENS
        path, taken, told = tuple(token_ids[len(PROMPT) :]), [], []
        while len(taken) < params.max_tokens:
            logprobs = model(path, self._seed)
            allowed = params.allowed_token_ids or logprobs
            token = max(allowed, key=lambda token_id: logprobs[token_id])
            told.append({i: SimpleNamespace(logprob=logprobs[i]) for i in {token, *params.logprob_token_ids}})
            taken.append(token)
            path = (*path, token)
            if token in (params.stop_token_ids or []):
                break
        answer = SimpleNamespace(token_ids=taken, logprobs=told)
        return SimpleNamespace(outputs=[answer], num_cached_tokens=2)


@pytest.mark.parametrize("seed", range(40))
def test_a_read_is_the_probability_of_each_whole_label(seed: int) -> None:
    engine = Engine(seed)
    read = asyncio.run(Reader(tree_of_paths(LABELS), engine.generate).read(PROMPT))
    assert [math.exp(value) for value in read.logprobs] == pytest.approx(written(LABELS, seed), abs=TOLERANCE)
    assert read.cached_tokens == 2 * engine.requests
    assert read.prompt_tokens >= engine.requests * len(PROMPT)
    assert engine.requests <= 3  # the tree has three beginnings


def test_where_the_engine_follows_a_label_one_request_reads_all_of_it() -> None:
    followed = [seed for seed in range(200) if max((0, 1, 2, 3), key=lambda token: model((), seed)[token]) == 1]
    assert len(followed) > 20
    for seed in followed:
        engine = Engine(seed)
        asyncio.run(Reader(tree_of_paths([(0,), (1, 2), (1, 3)]), engine.generate).read(PROMPT))
        assert engine.requests == 1


@pytest.mark.parametrize(("labels", "most"), [(LABELS, WALKS_AT_ONCE), ([(0,), (1,)], 100)])
def test_prompts_that_take_several_requests_are_not_all_begun_at_once(labels: list[Path], most: int) -> None:
    begun: set[int] = set()
    at_once = []

    async def generate(token_ids: list[int], params: Any) -> Any:
        begun.add(token_ids[0])
        at_once.append(len(begun))
        await asyncio.sleep(0)
        return await Engine(token_ids[0]).generate([*PROMPT, *token_ids[len(PROMPT) :]], params)

    async def read(reader: Reader, number: int) -> None:
        await reader.read([number, *PROMPT[1:]])
        begun.remove(number)

    async def all_read() -> None:
        reader = Reader(tree_of_paths(labels), generate)
        await asyncio.gather(*(read(reader, number) for number in range(100)))

    asyncio.run(all_read())
    assert max(at_once) == most


def test_more_tokens_than_one_request_tells_of_take_several() -> None:
    tree = tree_of_paths([(token,) for token in range(300)])
    asks = asks_at(tree, ())
    assert [len(ask.tokens) for ask in asks] == [128, 128, 44]
    assert sorted(token for ask in asks for token in ask.tokens) == list(range(300))


def test_labels_of_one_token_are_read_in_one_step_without_a_mask() -> None:
    (ask,) = asks_at(tree_of_paths([(0,), (1,)]), ())
    params = ask.params()
    assert (params.max_tokens, params.allowed_token_ids, params.logprob_token_ids) == (1, None, [0, 1])


def test_a_label_is_tokenised_where_an_answer_begins() -> None:
    tokens = {"\n": [7], "\nyes": [8], "yes": [1], "\nno": [7, 2]}
    tree = tree_of(["yes", "no"], tokens.__getitem__, "\n", END)
    assert tree.label_at == {(1,): 0, (2,): 1}  # no prompt that ends in "\n" leads to "\nyes" as one token


def test_labels_with_the_same_tokens_are_named() -> None:
    with pytest.raises(SameTokensError, match="'a' and 'A'"):
        tree_of(["a", "b", "A"], lambda text: [ord(letter) for letter in text.lower()], "", END)
    with pytest.raises(SameTokensError, match="'' has no token"):
        tree_of(["a", ""], lambda text: list(text.encode()), "", END)
