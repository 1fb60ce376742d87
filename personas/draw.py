"""Which personas of the panel a document is put to, where not all of them are asked."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence

from xpoll.core.records import Prompt
from xpoll.personas.persona import Persona


def drawn(panel: Sequence[Persona], document_id: str, number: int, *, seed: int) -> list[Persona]:
    """`number` personas of the panel, in its order; a uniform draw that depends on seed and document id alone.

    A run that goes on, or a document that stands elsewhere in its file, is given the same ones.
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
    """Of each document's prompts those to the personas drawn for it; all of them without a `number`."""
    asked: tuple[str, set[str]] = ("", set())
    for prompt in prompts:
        if number is not None and number < len(panel):
            if asked[0] != prompt.document_id or not asked[1]:
                personas = drawn(panel, prompt.document_id, number, seed=seed)
                asked = (prompt.document_id, {persona.persona_id for persona in personas})
            if prompt.persona_id not in asked[1]:
                continue
        yield prompt
