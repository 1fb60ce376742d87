"""The rows of synthesized.parquet, which every later step and every output reads."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from xpoll.core.record_files import stream_records, write_records
from xpoll.core.tables.arrow import KEPT_WITHOUT

CONTROL_PROBLEM = "control: written by nobody in particular, for comparison"
"""`problem` of a text that shows what personas add in diversity."""


class SynthesizedText(NamedTuple):
    """One text that was asked for. It is kept where `problem` is None; else that names the gate, and why.

    `label` is the one that it was written for, None where its template knows none. `prompt` and `completion` are what
    a causal student is trained on, None where the template's texts are no prompts. `axes` and `sampling` are JSON
    objects. `persona` is None where nobody in particular wrote it.
    """

    id: str
    text: str
    label: str | None
    prompt: str | None
    completion: str | None
    persona_id: str | None
    persona: str | None
    template: str
    axes: str
    model: str
    sampling: str
    finish_reason: str | None
    output_tokens: int
    problem: str | None = None

    @property
    def is_control(self) -> bool:
        """Whether nobody in particular wrote it."""
        return self.problem == CONTROL_PROBLEM


_STRINGS = [name for name in SynthesizedText._fields if name != "output_tokens"]
SYNTHESIZED_SCHEMA = pa.schema(
    [(name, pa.string() if name in _STRINGS else pa.int32()) for name in SynthesizedText._fields]
).with_metadata({KEPT_WITHOUT: b"problem"})
"""Its metadata tells readers of documents that rows with a problem are not kept."""


def write_texts(path: Path, texts: Iterable[SynthesizedText]) -> None:
    """Writes the rows, whole or not at all.

    Raises:
        RunFolderError: it cannot be written.
    """
    write_records(path, texts, SYNTHESIZED_SCHEMA)


def read_texts(path: Path, *, kept: bool = False) -> Iterator[SynthesizedText]:
    """The rows of a file, or those that were kept.

    Raises:
        RunFolderError: the file cannot be read.
    """
    return (row for row in stream_records(path, SynthesizedText) if not (kept and row.problem is not None))
