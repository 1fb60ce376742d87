"""Each document is put to as many personas as asked, always the same ones, and each persona equally often."""

from collections import Counter

from xpoll.core.records import AnswerSchema, Prompt, Sampling
from xpoll.personas.draw import drawn, drawn_prompts
from xpoll.personas.persona import Persona

PANEL = [Persona(name, f"a {name}") for name in "abcdefgh"]


def prompts(documents: list[str], samples: int = 2) -> list[Prompt]:
    return [
        Prompt(document_id, persona.persona_id, sample, (), Sampling(0, 1, 1), AnswerSchema())
        for document_id in documents
        for persona in PANEL
        for sample in range(samples)
    ]


def test_a_draw_depends_on_seed_and_document_alone() -> None:
    first = {f"d{i}": drawn(PANEL, f"d{i}", 3, seed=7) for i in range(50)}
    assert {document_id: drawn(PANEL, document_id, 3, seed=7) for document_id in reversed(first)} == first
    assert {document_id: drawn(PANEL, document_id, 3, seed=8) for document_id in first} != first
    assert [persona.persona_id for persona in drawn(PANEL, "d0", 3, seed=7)] == ["a", "d", "g"], (
        "a resume depends on it"
    )


def test_a_draw_keeps_the_panel_s_order_and_repeats_nobody() -> None:
    for number in range(1, 9):
        names = [persona.persona_id for persona in drawn(PANEL, "x", number, seed=0)]
        assert names == sorted(set(names))
        assert len(names) == number


def test_personas_and_pairs_of_them_are_drawn_equally_often() -> None:
    draws = [drawn(PANEL, f"document {i}", 3, seed=0) for i in range(4000)]
    counts = Counter(persona.persona_id for draw in draws for persona in draw)
    # Mean 1500, standard deviation 31.
    assert all(abs(count - 1500) < 125 for count in counts.values()), counts
    pairs = Counter((draw[0].persona_id, draw[1].persona_id) for draw in draws)
    assert len(pairs) > 20


def test_of_the_prompts_those_to_drawn_personas_are_left() -> None:
    asked = list(drawn_prompts(prompts(["x", "y", "z"]), PANEL, 3, seed=0))
    assert len(asked) == 3 * 3 * 2
    for document_id in "xyz":
        names = {prompt.persona_id for prompt in asked if prompt.document_id == document_id}
        assert names == {persona.persona_id for persona in drawn(PANEL, document_id, 3, seed=0)}


def test_without_a_number_all_are_asked() -> None:
    every = prompts(["x", "", "y"])
    assert list(drawn_prompts(every, PANEL, None, seed=0)) == every
    assert list(drawn_prompts(every, PANEL, 8, seed=0)) == every
    assert len(list(drawn_prompts(every, PANEL, 2, seed=0))) == 3 * 2 * 2
