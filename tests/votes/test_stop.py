"""Stopping early changes no majority and asks no answer too many."""

from collections import Counter
from collections.abc import Sequence
from itertools import product

import pytest

from xpoll.core.config.job import Config
from xpoll.core.records import Completion
from xpoll.personas.probes import RESERVED
from xpoll.votes.stop import Confidence, Decided, StopButAskProbes, stop_rule

LABELS = ("a", "b", "c")


def answers(texts: Sequence[str]) -> list[Completion]:
    return [Completion("d", "p", i, text=text) for i, text in enumerate(texts)]


def majority(texts: Sequence[str]) -> str | None:
    counts = Counter(text for text in texts if text in LABELS).most_common(2)
    if not counts or (len(counts) == 2 and counts[0][1] == counts[1][1]):
        return None
    return counts[0][0]


def asked_under(rule: Decided | Confidence, texts: Sequence[str]) -> list[str]:
    """Asks as the worker does: as many as the rule needs, again after each answer."""
    seen: list[str] = []
    while (fewest := rule.fewest(answers(seen), len(texts) - len(seen))) > 0:
        begun = texts[len(seen) : len(seen) + fewest]
        for i, text in enumerate(begun):
            seen.append(text)
            still = rule.fewest(answers(seen), len(texts) - len(seen))
            assert still >= fewest - i - 1, f"after {seen} what is in flight is no longer needed"
            if still > fewest - i - 1:
                break
    return seen


@pytest.mark.parametrize("total", [1, 2, 3, 4, 5, 6])
def test_the_majority_of_the_answers_asked_is_that_of_all(total: int) -> None:
    for texts in product([*LABELS, "unreadable"], repeat=total):
        seen = asked_under(Decided(LABELS), texts)
        assert majority(seen) == majority(texts), (seen, texts)


@pytest.mark.parametrize("total", [2, 3, 4, 5])
def test_no_answer_is_asked_after_the_majority_is_decided(total: int) -> None:
    for texts in product(LABELS, repeat=total):
        seen = asked_under(Decided(LABELS), texts)
        before, left = seen[:-1], total - len(seen) + 1
        futures = {majority([*before, *rest]) for rest in product([*LABELS, "unreadable"], repeat=left)}
        assert len(futures) > 1, f"{before} had decided it already"


@pytest.mark.parametrize(
    ("given", "left", "fewest"), [("", 3, 2), ("", 9, 5), ("a", 8, 4), ("ab", 7, 4), ("abb", 6, 3)]
)
def test_all_answers_that_are_needed_anyway_are_asked_at_once(given: str, left: int, fewest: int) -> None:
    assert Decided(LABELS).fewest(answers(list(given)), left) == fewest


def test_two_of_three_that_agree_settle_it() -> None:
    assert asked_under(Decided(LABELS), ["a", "a", "b"]) == ["a", "a"]
    assert asked_under(Decided(LABELS), ["a", "b", "a"]) == ["a", "b", "a"]


def test_a_confidence_is_reached_by_a_lead_and_never_needs_more_than_deciding() -> None:
    rule = Confidence(LABELS, 0.85)
    # Beta(3, 1): P(p > 1/2) = 7/8; Beta(2, 1): 3/4.
    assert asked_under(rule, ["a"] * 9) == ["a"] * 2
    assert asked_under(Confidence(LABELS, 0.9), ["a"] * 9) == ["a"] * 3
    for texts in product(LABELS, repeat=5):
        assert len(asked_under(rule, texts)) <= len(asked_under(Decided(LABELS), texts))


def test_a_confidence_that_is_reached_exactly_is_enough() -> None:
    assert asked_under(Confidence(LABELS, 0.875), ["a"] * 9) == ["a"] * 2


def test_probes_are_asked_to_the_end_and_other_documents_as_the_rule_says() -> None:
    rule = StopButAskProbes(Decided(LABELS))
    of_probe = [answer._replace(document_id=f"{RESERVED}0") for answer in answers(["a", "a"])]
    assert rule.fewest(of_probe, 1) == 1
    assert rule.fewest(of_probe[:1], 2) == 2
    assert rule.fewest(answers(["a", "a"]), 1) == 0
    assert rule.fewest([], 3) == 2


def test_the_probability_of_a_lead_counts_the_votes_against_it() -> None:
    # Beta(4, 2): P(p > 1/2) = 26/32.
    seen = answers(["a", "b", "a", "a"])
    assert Confidence(LABELS, 0.81).fewest(seen, 9) == 0
    assert Confidence(LABELS, 0.82).fewest(seen, 9) > 0


@pytest.mark.parametrize(
    ("named", "rule"), [("never", None), ("decided", Decided(LABELS)), (0.9, Confidence(LABELS, 0.9))]
)
def test_the_rule_is_the_one_that_the_job_names(named: str | float, rule: Decided | Confidence | None) -> None:
    job = {"documents": {"path": "t.csv"}, "task": {"labels": list(LABELS)}, "panel": {"stop": named, "samples": 3}}
    assert stop_rule(Config.model_validate(job)) == rule
