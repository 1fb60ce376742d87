"""Draws the personas that each document is put to, where that is not the whole panel."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence

from xpoll.core.records import Prompt
from xpoll.personas.persona import Persona


def drawn(panel: Sequence[Persona], document_id: str, number: int, *, seed: int) -> list[Persona]:
    """`number` personas of the panel, in its order: a uniform draw that depends on seed and document id alone.

    A run that resumes, and a document at another place in its file, get the same ones.

    Args:
        panel: All personas.
        document_id: Of the document that they are asked about.
        number: How many to draw, at most the panel's size.
        seed: `job.seed`.
    """
    bits = hashlib.shake_256(f"{seed}\x1f{document_id}".encode()).digest(8 * number)
    places = list(range(len(panel)))
    for i in range(number):  # the first steps of a Fisher-Yates shuffle
        j = i + int.from_bytes(bits[8 * i : 8 * i + 8], "little") % (len(places) - i)
        places[i], places[j] = places[j], places[i]
    return [panel[place] for place in sorted(places[:number])]


def drawn_prompts(
    prompts: Iterable[Prompt], panel: Sequence[Persona], number: int | None, *, seed: int
) -> Iterator[Prompt]:
    """Of each document's prompts, those to the personas that are drawn for it.

    Args:
        prompts: All prompts, one document after the other.
        panel: All personas.
        number: How many personas to draw per document; None, or the panel's size and more, keeps every prompt.
        seed: `job.seed`.
    """
    asked: tuple[str, set[str]] = ("", set())
    for prompt in prompts:
        if number is not None and number < len(panel):
            if asked[0] != prompt.document_id or not asked[1]:
                personas = drawn(panel, prompt.document_id, number, seed=seed)
                asked = (prompt.document_id, {persona.persona_id for persona in personas})
            if prompt.persona_id not in asked[1]:
                continue
        yield prompt
