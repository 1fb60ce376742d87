"""Each label stands equally often in each place, and a preference for a place is seen and sized."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.records import Vote
from personas.label_order import chi_square_p, label_order, position_bias

LABELS = ["negative", "neutral", "positive"]


label_lists = st.lists(st.text(), min_size=2, max_size=7, unique=True)


@given(label_lists, st.text(), st.text(), st.integers(0, 50), st.integers())
def test_a_row_of_samples_names_each_label_once_in_each_place(
    labels: list[str], document_id: str, persona_id: str, first: int, seed: int
) -> None:
    orders = [label_order(labels, document_id, persona_id, first + i, seed) for i in range(len(labels))]
    assert all(sorted(order) == sorted(labels) for order in orders)
    assert all(len(set(place)) == len(labels) for place in zip(*orders, strict=True))
    assert orders[0] == label_order(labels, document_id, persona_id, first, seed)


def test_an_order_is_the_same_on_every_machine() -> None:
    assert label_order(LABELS, "7", "annotator", 0, 0) == ["neutral", "positive", "negative"]
    assert label_order(LABELS, "7", "annotator", 1, 0) == ["positive", "negative", "neutral"]


def test_over_documents_and_personas_places_are_equally_frequent() -> None:
    asked: dict[str, list[tuple[str, str, int]]] = {
        "documents": [(str(i), "p", 0) for i in range(3000)],
        "personas": [("d", str(i), 0) for i in range(3000)],
        "seeds": [("d", "p", i) for i in range(3000)],
    }
    for many, arguments in asked.items():
        first = Counter(label_order(LABELS, document, persona, 0, seed)[0] for document, persona, seed in arguments)
        # Mean 1000, standard deviation 26.
        assert all(abs(count - 1000) < 105 for count in first.values()), (many, first)


def votes(*, first_place: float, documents: int = 2000) -> list[Vote]:
    """Truth is positive for nine of ten; with the given probability whatever is named first is said instead."""
    rng = random.Random(1)
    cast = []
    for i in range(documents):
        truth = "positive" if i % 10 else "neutral"
        said = label_order(LABELS, str(i), "p", 0, 5)[0] if rng.random() < first_place else truth
        cast.append(Vote(str(i), "p", 0, said))
    return cast


def test_skewed_labels_are_no_bias() -> None:
    bias = position_bias(votes(first_place=0), LABELS, seed=5)
    assert bias is not None
    assert sum(bias.counts) == 2000
    assert bias.p_value > 0.01
    assert bias.largest_gap < 0.03


def test_a_preference_for_the_first_place_is_seen_and_sized() -> None:
    bias = position_bias(votes(first_place=0.3), LABELS, seed=5)
    assert bias is not None
    assert bias.p_value < 1e-6
    # Of the votes 30 % go to the first place and a third of the rest is there anyway.
    assert bias.shares[0] == pytest.approx(0.3 + 0.7 / 3, abs=0.03)
    other_seed = position_bias(votes(first_place=0.3), LABELS, seed=6)
    assert other_seed is not None
    assert other_seed.largest_gap < 0.05, "orders that were not shown tell nothing"


def test_votes_without_a_label_do_not_count() -> None:
    assert position_bias([], LABELS, seed=0) is None
    assert position_bias([Vote("d", "p", 0, None, "empty")], LABELS, seed=0) is None


# Critical values as printed in statistical tables.
AT_05 = [(3.841, 1, 0.05), (5.991, 2, 0.05), (7.815, 3, 0.05), (9.488, 4, 0.05), (18.307, 10, 0.05)]
AT_01 = [(6.635, 1, 0.01), (24.725, 11, 0.01)]


@pytest.mark.parametrize(("statistic", "degrees", "p"), AT_05 + AT_01)
def test_the_tail_agrees_with_the_tables(statistic: float, degrees: int, p: float) -> None:
    assert chi_square_p(statistic, degrees) == pytest.approx(p, rel=0.002)
    assert chi_square_p(0, degrees) == 1
    assert chi_square_p(5000, degrees) < 1e-300
