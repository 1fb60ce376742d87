"""What a walk down the tokens of the labels finds is the probability of each label written to its end."""

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpoll.engine.backends.label_tree import TOLERANCE, LabelTree, Path, SameTokensError, Walk

END = 9


def tree_of(labels: list[tuple[int, ...]]) -> LabelTree:
    return LabelTree(labels, END, [str(label) for label in labels])


def model(path: Path, seed: int) -> dict[int, float]:
    """Logprobs of the tokens 0 to 9 after some tokens; peaked, as a model's are."""
    draw = Random(f"{seed} {path}")
    logits = [draw.gauss(0, 3) for _ in range(10)]
    total = math.log(sum(map(math.exp, logits)))
    return {token: logit - total for token, logit in enumerate(logits)}


def written(labels: list[tuple[int, ...]], seed: int) -> list[float]:
    """The distribution over the labels by the probability of all of their tokens."""
    begun = {label[:length] for label in labels for length in range(len(label))}
    logprobs = []
    for label in labels:
        whole = (*label, END) if label in begun else label
        logprobs.append(sum(model(whole[:place], seed)[token] for place, token in enumerate(whole)))
    total = sum(map(math.exp, logprobs))
    return [math.exp(logprob) / total for logprob in logprobs]


def walked(labels: list[tuple[int, ...]], seed: int) -> tuple[list[float], int, int]:
    walk, asked = Walk(tree_of(labels)), 0
    while paths := walk.wanted():
        asked += len(paths)
        for path in paths:
            walk.learn(path, model(path, seed))
    logprobs, unread = walk.distribution()
    return [math.exp(logprob) for logprob in logprobs], unread, asked


@given(
    labels=st.lists(
        st.lists(st.integers(0, 4), min_size=1, max_size=5).map(tuple), min_size=1, max_size=30, unique=True
    ),
    seed=st.integers(0, 1000),
)
def test_the_distribution_is_that_of_the_whole_labels(labels: list[tuple[int, ...]], seed: int) -> None:
    found, unread, asked = walked(labels, seed)
    assert sum(found) == pytest.approx(1)
    assert found == pytest.approx(written(labels, seed), abs=TOLERANCE)
    assert 0 <= unread < len(labels)
    assert asked <= tree_of(labels).most_requests


def test_labels_of_one_token_take_one_pass() -> None:
    found, unread, asked = walked([(0,), (1,), (2,)], seed=1)
    assert (unread, asked) == (0, 1)
    assert found == pytest.approx(written([(0,), (1,), (2,)], seed=1), abs=1e-12)


def test_a_beginning_that_is_next_to_impossible_is_not_asked_about() -> None:
    tree = tree_of([(0,), (1, 2), (1, 3)])
    walk = Walk(tree)
    walk.learn((), {0: math.log(0.5), 1: math.log(1e-5)})
    assert walk.wanted() == []
    logprobs, unread = walk.distribution()
    assert unread == 2
    assert logprobs[1] == logprobs[2] == pytest.approx(math.log(1e-5 / 2 / 0.50001))


def test_labels_that_no_model_can_tell_apart_are_named() -> None:
    with pytest.raises(SameTokensError, match="'a' and 'c' have the same tokens"):
        LabelTree([(1, 2), (3,), (1, 2)], END, "abc")
    with pytest.raises(SameTokensError, match="'b' has no token"):
        LabelTree([(1, 2), ()], END, "ab")
