"""Where quotes stand in a text, and how spans are held against gold."""

import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xpoll.core.f1 import macro_f1, micro_f1
from xpoll.core.spans import Quotes, TextSpan, exact_counts, overlap_counts, token_counts, trimmed

LABELS = ["time", "date"]


def places(text: str, *quotes: str) -> list[tuple[int, int] | None]:
    found = Quotes(text)
    return [found.place(quote) for quote in quotes]


@pytest.mark.parametrize(
    ("text", "quotes", "found"),
    [
        ("at 5 or 5", ["5", "5", "5"], [(3, 4), (8, 9), None]),
        ("15 at 5", ["5"], [(6, 7)]),
        ("15 only", ["5"], [(1, 2)]),
        ("at 15 by 5", ["15", "5"], [(3, 5), (9, 10)]),
        ("at 15 by 5", ["5", "15"], [(9, 10), (3, 5)]),
        ("at noon", [" noon ", "", "   ", "Noon"], [(3, 7), None, None, None]),
        ("cafe\u0301 cafe", ["cafe"], [(6, 10)]),
        ("\U0001f600\U0001f600 yes", ["\U0001f600", "yes"], [(0, 1), (3, 6)]),
        ("\u4e0b\u5348\u4e94\u70b9", ["\u4e94\u70b9"], [(2, 4)]),
        ("", ["x"], [None]),
    ],
)
def test_a_quote_stands_at_its_first_whole_place_that_is_left(
    text: str, quotes: list[str], found: list[tuple[int, int] | None]
) -> None:
    assert places(text, *quotes) == found


def test_a_thousand_equal_quotes_take_no_longer_than_the_text_is_long() -> None:
    began_s = time.process_time()
    assert places("ab " * 100_000, *["ab"] * 1000)[-1] == (2997, 2999)
    assert places("a" * 100_000, *["a" * 50_000] * 1000)[:3] == [(0, 50_000), (50_000, 100_000), None]
    assert places("ab", *["ab"] * 1000)[1:] == [None] * 999
    assert time.process_time() - began_s < 5


@settings(deadline=None)
@given(st.text(max_size=30), st.lists(st.text(min_size=1, max_size=4), max_size=8))
def test_what_is_found_is_the_quote_and_nothing_is_taken_twice(text: str, quotes: list[str]) -> None:
    found = [(quote, place) for quote, place in zip(quotes, places(text, *quotes), strict=True) if place]
    assert all(text[start:end] == quote.strip() for quote, (start, end) in found)
    taken = sorted(place for _, place in found)
    assert all(first[1] <= second[0] for first, second in pairwise(taken))


def test_spans_are_scored_exactly_by_overlap_and_by_token() -> None:
    text = "open from 9 to 5 on Monday"
    gold = [TextSpan(10, 16, "time"), TextSpan(20, 26, "date")]
    said = [TextSpan(10, 11, "time"), TextSpan(15, 16, "time"), TextSpan(20, 26, "date")]
    exact = exact_counts([said], [gold], LABELS)
    assert [each.tolist() for each in exact] == [[[0, 1]], [[2, 1]], [[1, 1]]]
    overlap = overlap_counts([said], [gold], LABELS)
    assert overlap.hits.tolist() == [[1, 1]], "one span of gold is met once"
    tokens = token_counts([text], [said], [gold], LABELS)
    assert [each.tolist() for each in tokens] == [[[2, 1]], [[2, 1]], [[3, 1]]]
    assert micro_f1(exact).value == pytest.approx(2 / 5)
    assert micro_f1(overlap).value == pytest.approx(4 / 5)
    assert macro_f1(tokens).value == pytest.approx((0.8 + 1) / 2)


def test_white_space_around_a_span_is_no_part_of_it() -> None:
    assert trimmed("  a b \n", 0, 7) == (2, 5)
    assert trimmed("   ", 0, 3)[0] == trimmed("   ", 0, 3)[1]
