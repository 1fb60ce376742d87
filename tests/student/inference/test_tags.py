"""Spans become tags of tokens and tags become spans again, whatever the tokens are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xpoll.core.spans import TextSpan
from xpoll.student.inference.tags import labels_of_tags, spans_of_tags, tags_of, token_targets

LABELS = ["time", "date"]
TAGS = tags_of(LABELS)
TEXT = "open from 5 pm on Monday"
WORDS = [(0, 0), (0, 4), (5, 9), (10, 11), (12, 14), (15, 17), (18, 24), (24, 24)]
"""Tokens of TEXT with a special one at either end."""


def test_tags_name_beginnings_and_insides() -> None:
    assert TAGS == ["O", "B-time", "I-time", "B-date", "I-date"]
    assert labels_of_tags(TAGS) == LABELS


def test_a_token_has_the_share_of_the_votes_that_mark_it() -> None:
    spans = [TextSpan(10, 14, "time", 0.75), TextSpan(18, 24, "date", 0.5), TextSpan(10, 11, "date", 0.5)]
    made = token_targets(TEXT, WORDS, spans, LABELS, len(TAGS))
    assert made.sum(1) == pytest.approx(1)
    assert made[2].tolist() == [1, 0, 0, 0, 0]
    assert made[3] == pytest.approx([0, 0.6, 0, 0.4, 0]), "shares of more than 1 are scaled"
    assert made[4] == pytest.approx([0.25, 0, 0.75, 0, 0])
    assert made[6] == pytest.approx([0.5, 0, 0, 0.5, 0])


def test_a_token_with_a_space_before_it_is_of_the_span_behind_the_space() -> None:
    made = token_targets("at 5", [(0, 2), (2, 4)], [TextSpan(3, 4, "time")], LABELS, len(TAGS))
    assert made.argmax(1).tolist() == [0, 1]
    assert [span.place for span in spans_of_tags("at 5", [(0, 2), (2, 4)], made, LABELS)] == [(3, 4, "time")]


def test_an_inside_without_a_beginning_begins_and_a_beginning_ends_what_was_before() -> None:
    rows = np.eye(5)[[0, 0, 0, 2, 1, 0, 4, 0]]
    found = [span.place for span in spans_of_tags(TEXT, WORDS, rows, LABELS)]
    assert found == [(10, 11, "time"), (12, 14, "time"), (18, 24, "date")]


def test_the_share_of_a_span_is_the_mean_probability_of_its_label() -> None:
    rows = np.tile([1.0, 0, 0, 0, 0], (8, 1))
    rows[3], rows[4] = [0.2, 0.5, 0.3, 0, 0], [0.4, 0.0, 0.6, 0, 0]
    [span] = spans_of_tags(TEXT, WORDS, rows, LABELS)
    assert (span.start, span.end, span.share) == (10, 14, pytest.approx(0.7))


@settings(deadline=None)
@given(st.text(alphabet="ab \n\u0301\U0001f600", max_size=24), st.data())
def test_spans_of_whole_tokens_come_back(text: str, data: st.DataObject) -> None:
    offsets = [(i, i + 1) for i in range(len(text))]
    ends = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=6)))
    spans = [
        TextSpan(start, end, data.draw(st.sampled_from(LABELS)))
        for start, end in zip(ends[::2], ends[1::2], strict=False)
        if text[start:end] == text[start:end].strip() != ""
    ]
    targets = token_targets(text, offsets, spans, LABELS, len(TAGS))
    inner_space = any(character.isspace() for span in spans for character in text[span.start : span.end])
    found = [span.place for span in spans_of_tags(text, offsets, targets, LABELS)]
    if not inner_space:
        assert found == [span.place for span in spans]
    assert all(0 <= start < end <= len(text) for start, end, _ in found)
