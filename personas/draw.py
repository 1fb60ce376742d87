"""Draws the personas that each document is put to, where that is not the whole panel."""

import hashlib
from collections.abc import Callable, Sequence

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


def asked_of_each(panel: Sequence[Persona], number: int | None, *, seed: int) -> Callable[[str], Sequence[Persona]]:
    """From a document's id to the personas that it is put to, in the panel's order.

    Args:
        panel: All personas.
        number: How many personas to draw per document; None, or the panel's size and more, takes all.
        seed: `job.seed`.
    """
    if number is None or number >= len(panel):
        return lambda _: panel
    return lambda document_id: drawn(panel, document_id, number, seed=seed)
