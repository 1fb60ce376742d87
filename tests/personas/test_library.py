"""The personas that come with xpoll: enough, of one form, told apart, and without an answer in them."""

import re
from itertools import combinations

import pytest

from xpoll.personas.persona import Persona, library_names, load_panel

LIBRARY = load_panel(library_names())

# Names that a task is likely to give its labels; a persona that holds one leans towards it.
LABEL_WORDS = {
    *("positive", "negative", "neutral", "mixed", "good", "bad", "yes", "true", "false", "spam", "ham", "toxic"),
    *("hate", "offensive", "safe", "unsafe", "relevant", "irrelevant", "bullish", "bearish", "correct", "incorrect"),
    *("entailment", "contradiction", "joy", "anger", "fear", "sadness", "surprise", "high", "low", "medium"),
}

# Attributes that law protects; a way of reading is never derived from one.
PROTECTED = {
    *("man", "woman", "male", "female", "he", "she", "his", "her", "husband", "wife", "mother", "father", "gay"),
    *("black", "white", "asian", "african", "european", "american", "muslim", "christian", "jewish", "religious"),
    *("young", "old", "elderly", "disabled", "immigrant", "foreign", "retired", "pregnant"),
}


def words(persona: Persona) -> list[str]:
    return re.findall(r"[a-z]+", persona.persona.casefold())


def test_the_library_covers_many_fields() -> None:
    assert len(LIBRARY) >= 24
    assert len({persona.field for persona in LIBRARY}) >= 12


@pytest.mark.parametrize("persona", LIBRARY, ids=lambda persona: persona.persona_id)
def test_a_persona_follows_you_are_and_says_how_it_reads(persona: Persona) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", persona.persona_id)
    assert re.fullmatch(r"[a-z]+", persona.field), persona.field
    assert re.match(r"an? [a-z]", persona.persona)
    assert (persona.persona[:3] == "an ") == (persona.persona.split()[1][0] in "aeiou")
    assert not persona.persona.endswith("."), "the template puts the full stop"
    assert "\n" not in persona.persona
    assert persona.persona.isascii()
    assert 15 <= len(words(persona)) <= 50, len(words(persona))
    assert len(re.findall(r"\.\s", persona.persona)) <= 3


@pytest.mark.parametrize("persona", LIBRARY, ids=lambda persona: persona.persona_id)
def test_a_persona_names_no_label_and_nothing_about_a_protected_group(persona: Persona) -> None:
    assert not LABEL_WORDS & set(words(persona))
    assert not PROTECTED & set(words(persona))


def test_no_two_personas_say_the_same() -> None:
    for first, second in combinations(LIBRARY, 2):
        a, b = set(words(first)), set(words(second))
        shared = len(a & b) / len(a | b)
        assert shared < 0.45, (first.persona_id, second.persona_id, shared)
