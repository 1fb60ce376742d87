"""Likely label errors of many labels fit into memory, and none are named where the classifier knows nothing."""

import tracemalloc

import numpy as np

from xpoll.votes.review.label_errors import skill_of, text_probabilities


def test_memory_follows_the_texts_and_not_labels_times_terms() -> None:
    text_probabilities(["a b", "c d"], np.arange(2), 2, seed=0)  # loads what it needs
    tracemalloc.start()
    found = text_probabilities([f"text {i}" for i in range(300)], np.arange(300) % 150, 150, seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 2**20, f"{peak / 2**20:.0f} MiB"
    assert np.allclose(found.sum(1), 1)


def test_a_text_that_is_there_twice_does_not_confirm_itself() -> None:
    texts, labels = ["one of a kind"] * 2 + ["rain", "sun"] * 10, np.array([2, 2] + [0, 1] * 10)
    assert (text_probabilities(texts, labels, 3, seed=0)[:2].argmax(1) != 2).all()


def test_a_classifier_that_is_no_better_than_the_most_frequent_label_knows_nothing() -> None:
    labels = np.array([0] * 66 + [1] * 34)
    constant = np.tile([0.7, 0.3], (100, 1))
    assert skill_of(labels, constant) == (0.66, 0, 0.66, False)
    assert skill_of(labels, np.eye(2)[labels]).knows
