"""What the product does is one of the ways that were compared, and a model that cannot tell texts apart is chance."""

import numpy as np
import pytest

from experiments.__main__ import suite_of
from experiments.yes_bias.yes_bias import measure, ranked_right, to_one_label
from xpoll.core.records import SetVote
from xpoll.votes.methods.label_probabilities import calibrated_probabilities


def test_the_product_counts_as_the_experiment_does() -> None:
    log_odds = np.random.default_rng(1).normal(1, 2, (50, 8))
    yes = 1 / (1 + np.exp(-log_odds))
    votes = [SetVote(str(i), "a", 0, (), probabilities=tuple(row)) for i, row in enumerate(yes.tolist())]
    found = calibrated_probabilities([vote.document_id for vote in votes], votes)
    assert found == pytest.approx(to_one_label(log_odds), abs=1e-6)


def test_every_way_is_scored_on_the_same_draws_and_data_may_be_absent() -> None:
    small = {"draws": 2, "drawn_texts": 60, "labels": [6], "strengths": [4.0]}
    records = list(measure(suite_of("yes_bias").read()["parameters"] | small))
    assert len(records) == 6
    by_way = {record["arm"]: record["f1_micro"] for record in records}
    assert by_way["mean to one label per text"] > by_way["raw"]


def test_ranks_are_counted_within_a_label() -> None:
    truth = np.array([[1, 0], [0, 1], [0, 0]])
    assert ranked_right(np.array([[1.0, 9], [0, 10], [-1, 8]]), truth) == 1
    assert ranked_right(np.array([[0.0, 9], [1, 8], [-1, 7]]), truth) == 0.5
