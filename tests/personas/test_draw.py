"""Each document is put to as many personas as asked, always the same ones, and each persona equally often."""

from collections import Counter
from pathlib import Path

import pytest

from xpoll.core.config.file import checked_config
from xpoll.core.config.job import Config
from xpoll.core.records import Document
from xpoll.personas.draw import asked_of_each, drawn
from xpoll.personas.persona import Persona
from xpoll.personas.prompts import build_prompts

PANEL = [Persona(name, f"a {name}") for name in "abcdefgh"]


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


def job(folder: Path, answer: str) -> Config:
    (folder / "docs.csv").write_text("text\n")
    given = {
        "job": {"run_folder": str(folder)},
        "documents": {"path": str(folder / "docs.csv")},
        "task": {"labels": ["good", "bad"]},
        "panel": {"personas": ["annotator"], "answer": answer, "samples": 1 if answer == "match" else 2},
        "engine": {"backend": "simulated"},
    }
    return checked_config(Config, given, mend="")


@pytest.mark.parametrize("answer", ["label", "match"])
@pytest.mark.parametrize(("number", "asked"), [(3, 3), (8, 8), (None, 8)])
def test_prompts_are_made_for_those_that_are_asked_and_no_others(
    tmp_path: Path, answer: str, number: int | None, asked: int
) -> None:
    documents = [Document(each, "Rain.", "train") for each in ("x", "", "z")]
    asked_of = asked_of_each(PANEL, number, seed=0)
    config = job(tmp_path, answer)
    found = list(build_prompts(documents, PANEL, config, asked_of=asked_of))
    every = list(build_prompts(documents, PANEL, config))
    wanted = {
        (document.document_id, each.persona_id) for document in documents for each in asked_of(document.document_id)
    }
    assert found == [prompt for prompt in every if (prompt.document_id, prompt.persona_id) in wanted]
    assert len(found) == 3 * asked * config.panel.samples
