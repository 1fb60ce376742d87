"""A file of personas of any size and state becomes a sample of usable ones."""

import json
from collections import Counter
from pathlib import Path

import pytest

from xpoll.core.errors import InputError
from xpoll.personas.persona_file import noun_phrase, sample_personas


def write(path: Path, *lines: object) -> str:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return str(path)


def personas(*texts: str) -> list[dict[str, str]]:
    return [{"persona": text} for text in texts]


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("A nurse on a night shift.", "a nurse on a night shift"),
        ("An  old\nhand at sailing", "an old hand at sailing"),
        ("As a psychologist with patience", "a psychologist with patience"),
        ("British cricket fan.", "British cricket fan"),
        ("Andean farmer", "Andean farmer"),
    ],
)
def test_a_sentence_becomes_what_follows_you_are(text: str, phrase: str) -> None:
    assert noun_phrase(text) == phrase


def test_the_sample_depends_on_the_seed_and_not_on_the_order_of_lines(tmp_path: Path) -> None:
    texts = [f"a clerk of office {number}" for number in range(300)]
    path, turned = write(tmp_path / "p.jsonl", *personas(*texts)), write(tmp_path / "q.jsonl", *personas(*texts[::-1]))
    first = sample_personas(path, most=20, seed=1)
    assert len({persona.persona for persona in first.personas}) == 20
    assert first.personas == sample_personas(turned, most=20, seed=1).personas
    assert first.personas != sample_personas(path, most=20, seed=2).personas
    assert first.personas[0].source == path


def test_every_line_is_as_likely_to_be_sampled(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", *personas(*(f"a clerk of office {number}" for number in range(30))))
    counts = Counter(p.persona for seed in range(300) for p in sample_personas(path, most=10, seed=seed).personas)
    # 300 draws with probability 1/3: mean 100, standard deviation 8.2; the seeds are fixed.
    assert len(counts) == 30
    assert 100 - 33 < min(counts.values()) <= max(counts.values()) < 100 + 33


def test_copies_of_a_text_count_once_and_a_text_has_one_id(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", *personas("A cook.", "a cook", "a   cook.", "A waiter"))
    sample = sample_personas(path, most=10, seed=0)
    assert sorted(persona.persona for persona in sample.personas) == ["a cook", "a waiter"]
    assert (sample.read, sample.skipped) == (4, 0)
    ids = {persona.persona: persona.persona_id for persona in sample.personas}
    assert ids["a cook"] == "hub-332cad8b47e1"


def test_a_bad_line_is_skipped_and_counted(tmp_path: Path) -> None:
    path = write(
        tmp_path / "p.jsonl",
        {"text": "a cook"},
        *personas("a cook", " . ", "x" * 2000, "I am a cook and my knives are sharp"),
        {"persona": ["a cook"]},
        "no json",
        "[" * 100_000,
        '{"persona": "a \\ud800 cook"}',
        '"a cook"',
        "",
        {"persona": "a waiter", "more": 1},
    )
    sample = sample_personas(path, most=10, seed=0)
    assert sorted(persona.persona for persona in sample.personas) == ["a cook", "a waiter"]
    assert (sample.read, sample.skipped) == (11, 9)
    assert sample.first_problem == "the first is line 1: there is no text under the key 'persona'"


def test_a_file_without_a_persona_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no persona; the first is line 1: there is no text"):
        sample_personas(write(tmp_path / "p.jsonl", {"text": "a cook"}), most=2, seed=0)
    with pytest.raises(InputError, match=r"panel\.persona_file: .*nowhere\.jsonl does not exist"):
        sample_personas(str(tmp_path / "nowhere.jsonl"), most=2, seed=0)
