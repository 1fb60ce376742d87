"""Samples personas from a JSONL file in the format of Persona Hub: one {"persona": "..."} per line.

Reads the file once, line by line, and keeps no more than the sample in memory. A line without a usable persona
is skipped and counted; its neighbours are not affected.
"""

import hashlib
import heapq
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from xpoll.core.errors import InputError
from xpoll.core.files import replacing
from xpoll.core.tables.readers import stream_rows
from xpoll.personas.persona import Persona

HUB = "hub-"
"""What the id of a persona from a file begins with."""
KEY = "panel.persona_file"
LONGEST = 1000
"""Most characters of a persona, which is part of every prompt; a longer text is skipped."""

_FIRST_PERSON = re.compile(r"\b(I|I['\u2019]m|my|My)\b")


class FileSample(NamedTuple):
    """A uniform sample of a file's distinct personas.

    Attributes:
        personas: In an order that depends on their texts and the seed alone.
        read: Lines of the file that are not empty.
        skipped: Of these, lines without a usable persona.
        first_problem: Which skipped line is the first, and why.
    """

    personas: list[Persona]
    read: int
    skipped: int
    first_problem: str


def sample_personas(path: str, *, most: int, seed: int) -> FileSample:
    """A uniform sample of the distinct personas of a file, whatever their number and order.

    Every text has a hash that depends on the seed; the texts with the smallest hashes are kept. That
    gives a uniform sample in one pass over the file, in which copies of a text count once.

    Args:
        path: A file as `stream_rows` takes it.
        most: Size of the sample; smaller where the file has fewer distinct personas.
        seed: Of the sample.

    Raises:
        InputError: the file cannot be read, or no line is usable.
    """
    key = str(seed).encode()[:64]
    kept: list[tuple[int, str]] = []  # a heap whose top has the largest hash, so hashes are negated
    inside: set[int] = set()
    read = skipped = 0
    first_problem = ""
    for text, problem in _texts(path):
        read += 1
        if problem:
            first_problem = first_problem or f"the first is line {read}: {problem}"
            skipped += 1
            continue
        rank = -int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8, key=key).digest(), "little")
        if rank in inside or (len(kept) == most and rank < kept[0][0]):
            continue
        inside.add(rank)
        if len(kept) < most:
            heapq.heappush(kept, (rank, text))
        else:
            inside.discard(heapq.heappushpop(kept, (rank, text))[0])
    if not kept:
        raise InputError(
            f"{KEY}: {path} holds no persona; {first_problem}", mend='give lines like {"persona": "a ..."}'
        )
    ordered = sorted(kept, reverse=True)
    return FileSample([hub_persona(text, source=path) for _, text in ordered], read, skipped, first_problem)


def hub_persona(text: str, *, source: str) -> Persona:
    """The persona of a noun phrase; its id is a short hash of the text, the same in every file and run."""
    return Persona(f"{HUB}{hashlib.sha256(text.encode()).hexdigest()[:12]}", text, source=source)


def noun_phrase(text: str) -> str:
    """A persona's description as it can follow "You are": one line, a lower-case article first, no full stop."""
    phrase = " ".join(text.split()).removesuffix(".").rstrip()
    phrase = re.sub(r"\AAs (?=an? )", "", phrase)
    return re.sub(r"\A(A|An|The|Someone) ", lambda found: found[0].lower(), phrase)


def write_personas(path: Path, personas: Iterable[str]) -> None:
    """Writes personas in the form that `sample_personas` reads, whole or not at all.

    Raises:
        RunFolderError: it cannot be written.
    """
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps({"persona": persona}, ensure_ascii=False) + "\n" for persona in personas)


def problem_of_persona(value: object) -> str | None:
    """What keeps a value from being a persona, in words; None where nothing does."""
    if not isinstance(value, str) or not (phrase := noun_phrase(value)):
        return "there is no text under the key 'persona'"
    if len(phrase) > LONGEST:
        return f"the persona has {len(phrase)} characters, more than {LONGEST}"
    if _FIRST_PERSON.search(phrase):
        return "the persona is in the first person, which cannot follow 'You are'"
    return None


def _texts(path: str) -> Iterator[tuple[str, str | None]]:
    """Each line's persona as a noun phrase, or what is wrong with the line."""
    for row in stream_rows(path, key=KEY):
        value = row.values.get("persona")
        problem = row.problem or problem_of_persona(value)
        yield ("", problem) if problem else (noun_phrase(str(value)), None)
