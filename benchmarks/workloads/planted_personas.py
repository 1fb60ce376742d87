"""Personas of drawn words among which duplicates are planted, so that what is found can be counted.

Of every hundred rows some 4 are copies with another case and spacing, 8 are copies with a small change whose Jaccard
similarity is that of near-duplicates or more, and 4 are copies with changes that leave it below: these are to be kept.
"""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from xpoll.core.sameness import folded
from xpoll.personas.near_duplicates import SIMILAR, jaccard, shingles_of

EXACT, NEAR, ALIKE = 0.04, 0.08, 0.04
"""Shares of the rows."""
LOOK_BACK = 5000
"""How many rows before its copy a persona stands at most; copies of rows that are far apart are found alike."""
_SYLLABLES = [a + b for a in "bcdfghjklmnprstvwz" for b in ("a", "e", "i", "o", "u", "an", "er", "il", "or", "us")]
_FORMS = (
    "a {0} {1} from {2} who {3}s {4} and {5}s {6}",
    "an expert in {0} {1} at {2}, known for {3} {4} and {5}",
    "a retired {0} of {1} who teaches {2} {3} to {4} and writes about {5}",
    "a young {0} with a passion for {1} {2}, {3} and the {4} of {5} {6}",
)


class Planted(NamedTuple):
    """A row: the persona, and, of a copy, what kind of copy it is and of which persona."""

    persona: str
    kind: str = "new"
    original: str = ""


class Found(NamedTuple):
    """What became of planted rows.

    Attributes:
        near: Near-duplicates that were planted.
        alike: Copies below the bound that were planted.
        exact_recall: Share of the planted copies that were taken out, 0 to 1.
        near_recall: Share of the planted near-duplicates that were taken out, or whose original was.
        near_precision: Of all rows taken out beyond exact copies, the share that are planted near-duplicates or their
            originals.
    """

    near: int
    alike: int
    exact_recall: float
    near_recall: float
    near_precision: float


class PlantedFile(NamedTuple):
    """A file of planted rows, which can be made again from its seed."""

    number: int
    seed: int

    def found(self, output: Path, *, by_meaning: bool = False) -> Found:
        """What a de-duplication of the file left of it.

        Args:
            output: What it wrote.
            by_meaning: Whether it compared embeddings, too: copies below the bound of shingles then count as planted.
        """
        with output.open(encoding="utf-8") as file:
            lines = [hash(folded(json.loads(line)["persona"])) for line in file]
        kept = set(lines)
        exact = near = near_gone = alike = 0
        taken: set[int] = set()
        planted: set[int] = set()
        for row in plant(self.number, seed=self.seed):
            own = hash(folded(row.persona))
            if own not in kept:
                taken.add(own)
            if row.kind == "exact":
                exact += 1
            elif row.kind == "near":
                original = hash(folded(row.original))
                near += 1
                near_gone += own not in kept or original not in kept
                planted |= {own, original}
            elif row.kind == "alike":
                alike += 1
                planted |= {own, hash(folded(row.original))} if by_meaning else set()
        copies = len(lines) - len(kept)
        precision = len(taken & planted) / len(taken) if taken else 1.0
        return Found(near, alike, 1 - copies / max(1, exact), near_gone / max(1, near), precision)


def write_planted(path: Path, number: int, *, seed: int) -> PlantedFile:
    """Writes a JSONL file of personas."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"persona": row.persona}) + "\n" for row in plant(number, seed=seed))
    return PlantedFile(number, seed)


def plant(number: int, *, seed: int) -> Iterator[Planted]:
    """The rows of a file, the same for the same seed.

    Args:
        number: How many.
        seed: Of what is drawn.
    """
    draw = random.Random(seed)
    words = ["".join(draw.choices(_SYLLABLES, k=draw.randint(2, 4))) for _ in range(20_000)]
    recent: list[str] = []
    for _ in range(number):
        kind = draw.random()
        if kind >= EXACT + NEAR + ALIKE or not recent:
            persona = draw.choice(_FORMS).format(*draw.choices(words, k=7))
            if len(recent) < LOOK_BACK:
                recent.append(persona)
            else:
                recent[draw.randrange(LOOK_BACK)] = persona
            yield Planted(persona)
            continue
        original = draw.choice(recent)
        if kind < EXACT:
            yield Planted(original.upper() if draw.random() < 0.5 else original.replace(" ", "  "), "exact", original)
        else:
            changed = _changed(original, draw, words, 1 if kind < EXACT + NEAR else draw.randint(3, 4))
            same = jaccard(shingles_of(original), shingles_of(changed)) >= SIMILAR
            yield Planted(changed, "near" if same else "alike", original)


def _changed(text: str, draw: random.Random, words: list[str], changes: int) -> str:
    parts = text.split()
    for place in draw.sample(range(1, len(parts)), changes):
        parts[place] = draw.choice(words)
    return " ".join(parts)
