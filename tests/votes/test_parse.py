"""An answer is one label or none; never a guess."""

import math

import pytest

from xpoll.core.records import Completion
from xpoll.votes.parse import label_alone, label_of, parse, parse_set, to_set_vote, to_vote

LABELS = ["negative", "neutral", "positive"]


@pytest.mark.parametrize(
    "text",
    [
        "positive",
        " Positive.",
        '"positive"',
        "POSITIVE\n",
        '{"reason": "up", "label": "positive"}',
        '{"label": "Positive"}',
        '```json\n{"reason": "up", "label": "positive"}\n```',
        "```\npositive\n```",
    ],
)
def test_a_label_alone_or_in_json_is_that_label(text: str) -> None:
    assert parse(text, LABELS).label == "positive"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        ("neutral leaning towards positive", "no label alone"),
        ("The label is positive", "no label alone"),
        ("positive or negative", "no label alone"),
        ("positivo", "no label alone"),
        ("not positive", "no label alone"),
        ('{"reason": "positive", "label": "up"}', "unknown label"),
        ('{"reason": "the label is positive"}', "json without label"),
        ('{"label": ["positive"]}', "json without label"),
        ('{"label": "positive", "label": "negative"}', "malformed json"),
        ('{"reason": "cut off, positive', "malformed json"),
        ('{"label": "positive"} {"label": "negative"}', "malformed json"),
        ("{" * 10_000, "malformed json"),
        ('{"a":' * 10_000, "malformed json"),
    ],
)
def test_anything_else_has_no_label_and_says_why(text: str, why: str) -> None:
    parsed = parse(text, LABELS)
    assert (parsed.label, parsed.unparsable) == (None, why)


def test_an_answer_cut_off_at_its_longest_is_told_from_a_malformed_one() -> None:
    assert parse('{"reason": "posit', LABELS, truncated=True).unparsable == "truncated"
    assert parse("posit", LABELS, truncated=True).unparsable == "truncated"
    assert parse("positive", LABELS, truncated=True).label == "positive"


def test_the_stated_reason_is_kept() -> None:
    assert parse('{"reason": "Profit rose.", "label": "positive"}', LABELS).stated_reason == "Profit rose."


def test_a_vote_carries_the_share_of_its_label() -> None:
    logprobs = (math.log(0.2), math.log(0.3), math.log(0.5))
    vote = to_vote(Completion("d", "p", 0, text="neutral", choice_logprobs=logprobs), LABELS)
    assert vote.label == "neutral"
    assert vote.confidence == pytest.approx(0.3)
    assert vote.distribution == pytest.approx((0.2, 0.3, 0.5))


def test_an_error_row_is_a_vote_without_a_label() -> None:
    vote = to_vote(Completion("d", "p", 0, error_kind="context_length", error="too long"), LABELS)
    assert (vote.label, vote.unparsable) == (None, "error: context_length")


def test_an_answer_that_was_cut_off_before_its_first_character_was_cut_off() -> None:
    assert parse("", ["good", "bad"], truncated=True).unparsable == "truncated"
    assert parse("", ["good", "bad"]).unparsable == "empty"


@pytest.mark.parametrize(
    "completion",
    [
        Completion("d", "p", 0, text="positive", error_kind="refused", error="says an endpoint"),
        Completion("d", "p", 0, text=None),
    ],
)
def test_an_answer_with_an_error_beside_it_and_one_without_a_text_have_no_label(completion: Completion) -> None:
    kind = f"error: {completion.error_kind}"
    assert (to_vote(completion, LABELS).label, to_vote(completion, LABELS).unparsable) == (None, kind)
    assert label_of(completion, LABELS) is None
    of_set = to_set_vote(completion, LABELS)
    assert (of_set.labels, of_set.unparsable, of_set.probabilities) == (None, kind, None)


@pytest.mark.parametrize("pairs", range(10))
@pytest.mark.parametrize("stop", ["", "."])
def test_eight_pairs_and_a_stop_come_off_a_label(pairs: int, stop: str) -> None:
    answer = '"' * pairs + "positive" + '"' * pairs + stop
    peeled = "positive" if pairs + len(stop) <= 9 else None
    assert label_alone(answer, LABELS) == peeled


def test_a_set_without_probabilities_or_without_labels_has_none() -> None:
    written = to_set_vote(Completion("d", "p", 0, text='["neutral"]'), LABELS)
    assert (written.labels, written.unparsable, written.probabilities) == (("neutral",), None, None)
    unread = to_set_vote(Completion("d", "p", 0, text="neutral", choice_logprobs=(-1.0, -1.0, -1.0)), LABELS)
    assert (unread.labels, unread.unparsable, unread.probabilities) == (None, "malformed json", None)


def test_a_set_that_was_cut_off_is_told_from_an_empty_and_a_malformed_one() -> None:
    for text, why in (("", "empty"), ("[", "malformed json"), ('["neutral", "pos', "malformed json")):
        assert parse_set(text, LABELS).unparsable == why
        assert parse_set(text, LABELS, truncated=True).unparsable == "truncated"


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ('{"labels": ["neutral"], "reason": "so"}', ("neutral",)),
        ('{"LABELS ": ["neutral"]}', ("neutral",)),
        ('{"other": 1, "labels": ["neutral"]}', ("neutral",)),
        ('{"labels": ["neutral"], "Labels": ["neutral"]}', None),
        ('{"reason": "so"}', None),
    ],
)
def test_a_set_in_an_object_stands_under_one_key(text: str, labels: tuple[str, ...] | None) -> None:
    assert parse_set(text, LABELS).labels == labels
    assert labels or parse_set(text, LABELS).unparsable == "no list of labels"
