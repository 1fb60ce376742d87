"""Labels and texts are compared by one rule, wherever they come from."""

import pytest

from xpoll.core.sameness import first_of_same, named, same_label

STARS = ["1", "2", "3"]
WORDS = ["true", "very  good", "caf\u00e9", "Bad"]


@pytest.mark.parametrize(
    ("value", "label"),
    [(2, "2"), (" 2 ", "2"), (2.0, None), (2.5, None), (None, None), ("4", None), (4, None), ([2], None), ("", None)],
)
def test_a_number_names_its_label(value: object, label: str | None) -> None:
    assert same_label(value, STARS) == label


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (True, "true"),
        ("TRUE", "true"),
        (False, None),
        ("Very good ", "very  good"),
        ("CAFE\u0301", "caf\u00e9"),
        ("bad", "Bad"),
    ],
)
def test_case_spaces_and_the_encoding_of_accents_do_not_matter(value: object, label: str | None) -> None:
    assert same_label(value, WORDS) == label


def test_what_could_be_two_labels_is_none() -> None:
    assert same_label("A", ["a", "A"]) == "A"
    assert same_label("\u00c4", ["\u00e4", "a\u0308"]) is None


def test_texts_are_the_same_whatever_their_case_and_spaces() -> None:
    assert first_of_same(["Late again", "fine", "late\n AGAIN", "fine."]) == [0, 1, 0, 3]


def test_a_message_names_ten_labels() -> None:
    assert named(["a", "b"]) == "['a', 'b']"
    assert named([f"l{i}" for i in range(1000)]).endswith("'l9'] and 990 more")
