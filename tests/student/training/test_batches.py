"""Which texts share a step, and in which order steps come."""

import random

import numpy as np

from xpoll.student.training.batches import LikeLengths

DRAW = random.Random(0)
LENGTHS = [DRAW.randint(5, 90) for _ in range(1003)]
STEP = 8


def steps(order: list[int]) -> list[list[int]]:
    return [order[start : start + STEP] for start in range(0, len(order), STEP)]


def test_each_text_comes_once_and_the_short_step_last() -> None:
    order = list(LikeLengths(LENGTHS, STEP, 3))
    assert sorted(order) == list(range(1003)) and len(LikeLengths(LENGTHS, STEP, 3)) == 1003
    assert [len(each) for each in steps(order)] == [8] * 125 + [3]


def test_a_step_holds_texts_of_like_length() -> None:
    spread = [np.ptp([LENGTHS[i] for i in step]) for step in steps(list(LikeLengths(LENGTHS, STEP, 3)))[:-1]]
    assert np.mean(spread) < 10 < np.mean([np.ptp([LENGTHS[i] for i in step]) for step in steps(list(range(1000)))])


def test_long_and_short_steps_come_in_no_order() -> None:
    means = [np.mean([LENGTHS[i] for i in step]) for step in steps(list(LikeLengths(LENGTHS, STEP, 3)))]
    neighbours = np.corrcoef(means[:-1], means[1:])[0, 1]
    assert abs(neighbours) < 0.3, "sorted from long to short, neighbours would be alike"


def test_seed_and_pass_decide_the_order() -> None:
    first, again, other_seed = (LikeLengths(LENGTHS, STEP, seed) for seed in (3, 3, 4))
    assert list(first) == list(first) == list(again)
    assert list(other_seed) != list(first)
    again.set_epoch(1)
    assert list(again) != list(first)


def test_fewer_texts_than_a_step_are_one_step() -> None:
    assert sorted(LikeLengths([3, 1, 2], STEP, 0)) == [0, 1, 2]
    assert list(LikeLengths([], STEP, 0)) == []
