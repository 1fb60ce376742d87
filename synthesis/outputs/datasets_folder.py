"""A folder that `datasets.load_dataset` and the Hugging Face hub take: data/train-*.parquet, and a data card."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from xpoll.core.errors import InputError
from xpoll.core.files import replacing, write_text
from xpoll.core.formatting import number
from xpoll.core.records import to_table
from xpoll.synthesis.outputs.output import KeptTexts, WrittenOutput
from xpoll.synthesis.texts import SYNTHESIZED_SCHEMA
from xpoll.synthesis.wording import diversity_rows

ROWS_PER_GROUP = 8192
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_SCHEMA = pa.schema([field for field in SYNTHESIZED_SCHEMA if field.name != "problem"])


def write(kept: KeptTexts, path: Path) -> WrittenOutput:
    """Writes the rows as one split, then the card.

    Raises:
        InputError: the path is a file, or a folder that holds something else.
        RunFolderError: it cannot be written.
    """
    data, card = path / "data" / "train-00000-of-00001.parquet", path / "README.md"
    if path.exists() and (not path.is_dir() or (any(path.iterdir()) and not data.exists())):
        raise InputError(f"--datasets: {path} is there and holds no data set", mend="name another folder")
    rows, texts = 0, kept.texts()
    with replacing(data) as temporary, pq.ParquetWriter(temporary, _SCHEMA, compression="zstd") as file:
        while some := list(islice(texts, ROWS_PER_GROUP)):
            file.write_table(to_table((row[:-1] for row in some), _SCHEMA))
            rows += len(some)
    write_text(card, "\n".join(card_lines(kept, rows, path.name)) + "\n")
    return WrittenOutput(path, rows)


def card_lines(kept: KeptTexts, rows: int, name: str) -> Iterator[str]:
    """The data card, line by line: what the hub reads, then what people read.

    Args:
        kept: What was written.
        rows: How many rows.
        name: Name of the folder.
    """
    config, figures = kept.config, kept.figures
    labels = list(config.task.labels) if figures.labels else []
    size = next((word for most, word in _SIZES if rows < most), "n>1M")
    task = "text-classification" if labels else "text-generation"
    yield from ("---", f"pretty_name: {name}", "tags:", "- synthetic", "- personas", "- xpoll")
    yield from ("task_categories:", f"- {task}", "size_categories:", f"- {size}", "configs:", "- config_name: default")
    yield from ("  data_files:", "  - split: train", "    path: data/train-*.parquet", "---", "")
    yield from (f"# {name}", "")
    asked = f"{number(figures.asked)} were asked for, {number(figures.kept)} passed the gates"
    voted = f", {number(rows)} of these keep the label that they were written for by a panel's vote"
    yield f"{number(rows)} texts that a language model wrote in the name of personas."
    yield f"{asked}{voted if kept.is_verified else ''}."
    yield from ("**No person wrote or read them**; where they state facts, these may be wrong.", "")
    yield from ("## How they were made", "")
    yield f"* model: `{config.engine.model}` ({config.engine.backend})"
    yield f"* templates: {', '.join(f'`{each}`' for each in figures.templates)}"
    source = config.synthesis.persona_file or "the library of xpoll" if not config.synthesis.personas else "named"
    yield f"* personas: {number(figures.personas)} different ones, from {source}"
    if labels:
        yield f"* labels: {', '.join(f'`{label}`' for label in labels)}"
    if config.synthesis.marginals:
        yield f"* wanted mix of personas: {config.synthesis.marginals}"
    yield f"* seed: {config.job.seed}"
    yield from ("", "## What was taken out", "")
    yield from _table(("gate", "what it takes out", "texts", "of those seen"), figures.table())
    if found := diversity_rows(figures):
        yield from ("", "## How far the texts differ", "")
        yield from _table(("arm", "texts", "distinct-1", "distinct-2", "self-BLEU", "mean cosine distance"), found)
        yield from ("", "Lower self-BLEU and higher values of the others are more diverse.")
    yield from ("", "## Columns", "")
    yield from _table(("column", "meaning"), list(COLUMNS.items()))


COLUMNS = {
    "id": "template and number",
    "text": "what was written",
    "label": "the label that it was written for, null where its template knows none",
    "prompt, completion": "the text as a prompt and the model's reply, null where the template's texts are no prompts",
    "persona_id, persona": "who wrote it",
    "template, axes": "what it was asked for by, and the values of the template's axes as JSON",
    "model, sampling, finish_reason, output_tokens": "how it was generated",
}
"""Columns of the data."""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for row in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(row)} |"
