"""Rows are drawn in equal shares, and each is the same in every session."""

import re
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from xpoll.core.config.job import Config
from xpoll.personas.persona import Persona
from xpoll.synthesis.drawing import Draw, messages_of
from xpoll.synthesis.template import load_templates

PERSONAS = [Persona(f"p{i}", f"a person of kind {i}") for i in range(7)]


def draw(labels: int = 5, seed: int = 0, names: tuple[str, ...] = ("labelled_text", "comedy", "tool")) -> Draw:
    return Draw(load_templates(list(names)), PERSONAS, [], [f"label {i}" for i in range(labels)], seed)


@given(number=st.integers(1, 200), labels=st.integers(2, 9), seed=st.integers(0, 5))
def test_shares_differ_by_one_at_most(number: int, labels: int, seed: int) -> None:
    rows = list(draw(labels, seed).rows(0, number))
    assert len({row.row_id for row in rows}) == number
    templates = Counter(row.template for row in rows)
    assert max(templates.values()) - min((*templates.values(), *[0] * (3 - len(templates)))) <= 1
    written = [row for row in rows if row.template == "labelled_text"]
    counts = Counter(row.label for row in written)
    assert max(counts.values()) - (min(counts.values()) if len(counts) == labels else 0) <= 1
    for label in counts:
        for axis in ("difficulty", "clarity"):
            values = Counter(row.axes[axis] for row in written if row.label == label)
            assert max(values.values()) - (min(values.values()) if len(values) == 3 else 0) <= 1


def test_a_later_round_goes_on_where_the_first_ended() -> None:
    whole = {row.row_id: row for row in draw().rows(0, 90)}
    parts = [*draw().rows(0, 31), *draw().rows(31, 59)]
    assert {row.row_id: row for row in parts} == whole
    assert all(draw().row_of(row_id) == row for row_id, row in whole.items())


def test_places_are_those_of_all_rows_with_controls_last() -> None:
    made = draw()
    rows = [*made.rows(0, 30), *made.rows(0, 6, control=True)]
    places = [made.number_of(row.row_id) for row in rows]
    assert sorted(places[:30]) == list(range(30)) and min(places[30:]) > max(places[:30])
    assert all(row.persona is None and row.is_control for row in rows[30:])


def test_another_seed_draws_other_rows_in_the_same_shares() -> None:
    first, second = ([row.label for row in draw(seed=seed).rows(0, 90)] for seed in (0, 1))
    assert first != second and Counter(first) == Counter(second)


def test_each_row_shows_another_draw_of_its_labels_examples_and_always_the_same() -> None:
    examples = [{"text": f"example {i} of {label}", "label": label} for i in range(9) for label in ("a", "b")]
    config = Config.model_validate({"synthesis": {"count": 9}, "task": {"labels": ["a", "b"], "examples": examples}})
    drawn = Draw(load_templates(["labelled_text"]), PERSONAS, [], ["a", "b"], 0)
    (template,) = drawn.templates
    shown = {}
    for row in drawn.rows(0, 12):
        (asked,) = (each["content"] for each in messages_of(row, template, config) if each["role"] == "user")
        shown[row.row_id] = re.findall(r"example \d of (\w)", asked), frozenset(re.findall(r"example \d of \w", asked))
        assert messages_of(drawn.row_of(row.row_id), template, config)[-1]["content"] == asked
        assert shown[row.row_id][0] == [row.label] * 4
    assert len({examples for _, examples in shown.values()}) > 8
