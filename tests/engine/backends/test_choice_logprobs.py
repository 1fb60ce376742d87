"""How likely each choice was is read from the answer's alternatives, or not stated at all."""

import math

import pytest

from xpoll.engine.backends.choice_logprobs import choice_logprobs

LABELS = ["negative", "neutral", "positive"]


def shares(*arguments: object, **options: object) -> list[float] | None:
    found = choice_logprobs(*arguments, **options)  # type: ignore[arg-type]
    return None if found is None else [math.exp(value) for value in found.choice_logprobs]


def test_the_first_token_settles_labels_that_begin_differently() -> None:
    options = {"neg": math.log(0.2), "neutral": math.log(0.3), "pos": math.log(0.5)}
    assert shares(["pos", "itive"], [options, {"itive": 0.0}], LABELS) == pytest.approx([0.2, 0.3, 0.5])


def test_beginnings_of_one_label_add_up_and_what_fits_two_is_left_out() -> None:
    options = {
        "pos": math.log(0.4),
        "p": math.log(0.1),
        "neg": math.log(0.25),
        "neut": math.log(0.2),
        "ne": math.log(0.05),
    }
    assert shares(["pos"], [options], LABELS) == pytest.approx([0.25 / 0.95, 0.2 / 0.95, 0.5 / 0.95])


def test_a_later_token_settles_what_the_first_left_open() -> None:
    first = {"ne": math.log(0.6), "pos": math.log(0.4)}
    second = {"utral": math.log(0.75), "gative": math.log(0.25)}
    assert shares(["ne", "utral"], [first, second], LABELS) == pytest.approx([0.15, 0.45, 0.4])


def test_a_distribution_that_cannot_be_told_is_none() -> None:
    options = {"ne": math.log(0.6), "pos": math.log(0.4)}
    assert shares(["pos"], [options], LABELS) is None


def test_a_label_that_begins_another_is_told_apart_by_the_end_of_the_answer() -> None:
    labels = ["pos", "positive"]
    first = {"pos": 0.0}
    second = {'"': math.log(0.3), "itive": math.log(0.7)}
    assert shares(["pos", "itive"], [first, second], labels) == pytest.approx([0.3, 0.7])


def test_inside_json_the_choice_begins_where_its_property_does() -> None:
    tokens = ['{"label": "', "pos", "itive", '"}']
    sure = dict.fromkeys(tokens, 0.0)
    options = {"pos": math.log(0.5), "neg": math.log(0.3), "neu": math.log(0.2)}
    alternatives = [sure, options, {"itive": 0.0}, sure]
    assert shares(tokens, alternatives, LABELS, start=len(tokens[0])) == pytest.approx([0.3, 0.2, 0.5])


def test_a_token_that_holds_the_quote_and_the_choice_is_not_read() -> None:
    tokens = ['{"label": "pos', "itive"]
    assert shares(tokens, [{tokens[0]: 0.0}, {"itive": 0.0}], LABELS, start=11) is None


def test_choices_beyond_the_told_ones_share_what_is_left_and_are_counted() -> None:
    labels = [f"{letter}bc" for letter in "abcdefgh"]
    found = choice_logprobs(["a"], [{"a": math.log(0.6), "b": math.log(0.34)}], labels)
    assert found is not None
    assert found.unread_choices == 6
    assert [math.exp(value) for value in found.choice_logprobs] == pytest.approx([0.6, 0.34, *[0.01] * 6])
