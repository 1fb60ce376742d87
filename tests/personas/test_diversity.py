"""Near-duplicates are found, the farthest are chosen, and the figures say what they claim."""

from itertools import combinations

import numpy as np
import pytest

from xpoll.personas.diversity import diversity_of, farthest_first, without_outliers
from xpoll.personas.near_duplicates import without_near_duplicates


def unit(rows: np.ndarray) -> np.ndarray:
    lengths: np.ndarray = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / lengths


def test_texts_that_say_nearly_the_same_are_kept_once() -> None:
    texts = [
        "a veteran court reporter who covers appeals in the capital",
        "a night nurse in a small rural hospital",
        "A veteran  court reporter who covers appeals in the capital!",
        "a veteran court reporter who covers trials and appeals in the capital",
        "a night nurse in a small rural hospital",
        "a court clerk",
        "a cook",
        "",
    ]
    assert without_near_duplicates(texts) == [0, 1, 5, 6, 7]


def test_of_many_copies_with_one_word_changed_one_is_left() -> None:
    base = "a planner in the transport department of a large city who reads timetables for a living, number {}"
    assert without_near_duplicates([base.format(number) for number in range(200)]) == [0]
    different = [f"{word} " * 8 for word in ("cook", "pilot", "judge", "miner", "baker")]
    assert without_near_duplicates(different) == [0, 1, 2, 3, 4]


def test_each_choice_is_the_farthest_from_those_before() -> None:
    angles = np.deg2rad([0.0, 5.0, 10.0, 90.0, 95.0, 180.0])
    points = np.stack([np.cos(angles), np.sin(angles)], 1)
    assert farthest_first(points, 2, given=points[:1]) == [5, 3]
    chosen = farthest_first(points, 6)
    assert sorted(chosen) == list(range(6))


def test_the_choice_is_at_least_half_as_wide_as_the_best() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        points = unit(rng.normal(size=(9, 4)))

        def width(rows: tuple[int, ...], points: np.ndarray = points) -> float:
            return min(float(np.linalg.norm(points[a] - points[b])) for a, b in combinations(rows, 2))

        best = max(width(rows) for rows in combinations(range(9), 3))
        assert width(tuple(farthest_first(points, 3))) >= best / 2


def test_what_is_like_nothing_else_is_no_candidate() -> None:
    rng = np.random.default_rng(0)
    centres = np.eye(40)[:4]
    crowd = np.concatenate([centres + rng.normal(scale=0.03, size=(4, 40)) for _ in range(24)])
    strangers = np.eye(40)[20:24]
    points = unit(np.concatenate([crowd, strangers]))
    kept = without_outliers(points)
    assert not {96, 97, 98, 99} & set(kept)
    assert len(kept) == 90
    assert kept == sorted(kept)
    assert {i % 4 for i in farthest_first(points[kept], 4)} <= {0, 1, 2, 3}


def test_the_figures_of_a_panel() -> None:
    same = np.tile([[1.0, 0.0]], (3, 1))
    assert diversity_of(same) == (0.0, 0.0, 1.0)
    assert diversity_of(np.eye(4)) == (1.0, 1.0, 0.0)
    three = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert diversity_of(three) == (pytest.approx(2 / 3, abs=1e-4), 0.0, pytest.approx(2 / 3))
    assert diversity_of(same[:1]) == (None, None, None)
