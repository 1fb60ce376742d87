"""`xpoll personas dedup`: a file of personas in, one without duplicates out; three passes, each a figure."""

import json
import tempfile
from array import array
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np

from xpoll.core.errors import InputError
from xpoll.core.files import replacing
from xpoll.core.formatting import counted, number
from xpoll.core.progress import say
from xpoll.core.sameness import folded
from xpoll.core.tables.readers import stream_rows
from xpoll.personas.deduplication.embeddings import NEAR, mark_near, write_embeddings
from xpoll.personas.deduplication.minhash import similar_pairs, write_signatures
from xpoll.personas.deduplication.spool import Spool
from xpoll.personas.near_duplicates import SIMILAR
from xpoll.personas.persona_file import noun_phrase, problem_of_persona


class Deduplicated(NamedTuple):
    """What became of a file of personas.

    Attributes:
        read: Rows of the file.
        skipped: Of these, rows without a usable persona.
        duplicates: Of the others, those whose text came before, whatever its case and spacing.
        near_duplicates: Of the others, those whose shingles are nearly those of one before.
        near_embeddings: Of the others, those whose embedding is near that of one before; None where none was made.
        kept: Personas written.
        compared: Pairs of texts that were compared by their shingles.
    """

    read: int
    skipped: int
    duplicates: int
    near_duplicates: int
    near_embeddings: int | None
    kept: int
    compared: int

    def lines(self) -> list[str]:
        """In words."""
        near = (
            f", {number(self.near_embeddings)} of nearly the same meaning" if self.near_embeddings is not None else ""
        )
        return [
            f"{counted(self.read, 'row')} read, {number(self.skipped)} without a persona",
            f"taken out: {number(self.duplicates)} duplicates, {number(self.near_duplicates)} near-duplicates{near}",
            f"kept: {counted(self.kept, 'persona')}",
        ]


def deduplicate(
    source: str,
    output: Path,
    *,
    text_column: str = "persona",
    similar: float = SIMILAR,
    embeddings: bool = False,
    near: float = NEAR,
    seed: int = 0,
) -> Deduplicated:
    """Writes the personas of a file as JSONL, each that is not nearly the same as one before.

    Memory grows by some 100 bytes a persona; texts, bands and embeddings lie in a temporary folder, that TMPDIR moves.

    Args:
        source: A file with a persona in each row, as `stream_rows` takes it.
        output: File to write.
        text_column: Column that holds the persona.
        similar: Jaccard similarity of the sets of five-character shingles from which two are near-duplicates.
        embeddings: Whether to compare what is left by embeddings, too.
        near: Cosine similarity from which two embeddings are the same.
        seed: Of the clusters that embeddings are compared in.

    Raises:
        InputError: the source cannot be read, or holds no persona; or the output is no .jsonl file.
        ModelError: embeddings are wanted and the encoder is not installed.
    """
    if output.suffix != ".jsonl":
        raise InputError(f"{output} is no .jsonl file", mend="name an output like personas.jsonl")
    with tempfile.TemporaryDirectory(prefix="xpoll-personas-") as scratch:
        usable = _Usable(source, text_column)
        spool = Spool.write(Path(scratch) / "texts.arrow", usable)
        if not spool.number:
            raise InputError(f"{source} holds no persona; {usable.first_problem}")
        if usable.skipped:
            say(f"{usable.skipped} of {usable.read} rows hold no persona; {usable.first_problem}")
        gone = usable.came_before()
        duplicates = int(gone.sum())
        compared = similar_pairs(spool, write_signatures(spool, Path(scratch)), gone, similar=similar)
        by_shingles, by_embedding = int(gone.sum()) - duplicates, None
        if embeddings:
            mark_near(write_embeddings(spool, Path(scratch) / "vectors"), gone, near=near, seed=seed)
            by_embedding = int(gone.sum()) - by_shingles - duplicates
        kept = _write(spool, gone, output)
        spool.close()
    return Deduplicated(usable.read, usable.skipped, duplicates, by_shingles, by_embedding, kept, compared)


class _Usable:
    """The usable personas of a file; counts the others. 8 bytes of memory a persona."""

    def __init__(self, source: str, text_column: str) -> None:
        self.read = self.skipped = 0
        self.first_problem = ""
        self._digests = array("Q")
        self._rows = stream_rows(source, key="personas", needs=(text_column,))
        self._column = text_column

    def __iter__(self) -> Iterator[str]:
        for row in self._rows:
            self.read += 1
            value = row.values.get(self._column)
            if problem := row.problem or problem_of_persona(value):
                self.skipped += 1
                self.first_problem = self.first_problem or f"the first is row {row.number + 1}: {problem}"
                continue
            text = noun_phrase(str(value))
            same = folded(text).encode("utf-8", "surrogatepass")
            self._digests.append(int.from_bytes(blake2b(same, digest_size=8).digest(), "little"))
            yield text

    def came_before(self) -> np.ndarray:
        """(personas,) booleans: of which the same text came before, told by 64 bits."""
        digests = np.frombuffer(self._digests, np.uint64)
        gone = np.ones(len(digests), bool)
        gone[np.unique(digests, return_index=True)[1]] = False
        return gone


def _write(spool: Spool, gone: np.ndarray, output: Path) -> int:
    kept = first = 0
    with replacing(output) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for texts in spool.batches():
            for i, text in enumerate(texts):
                if not gone[first + i]:
                    file.write(json.dumps({"persona": text}, ensure_ascii=False) + "\n")
                    kept += 1
            first += len(texts)
    return kept
