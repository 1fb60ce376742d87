"""The kept texts of a synthesis as a set that outputs write (core/outputs)."""

from collections.abc import Callable, Iterator

import pyarrow as pa

from xpoll.core.config.job import Config
from xpoll.core.formatting import as_line, number
from xpoll.core.outputs.datasets_folder import card_table
from xpoll.core.outputs.output import OutputRow, ParquetTable, TextSet
from xpoll.personas.prompts import instruction
from xpoll.synthesis.figures import SynthesisFigures
from xpoll.synthesis.texts import SYNTHESIZED_SCHEMA, SynthesizedText
from xpoll.synthesis.wording import diversity_rows

_SCHEMA = pa.schema([field for field in SYNTHESIZED_SCHEMA if field.name != "problem"])
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


def as_text_set(
    config: Config, figures: SynthesisFigures, texts: Callable[[], Iterator[SynthesizedText]], *, is_verified: bool
) -> TextSet:
    """The texts as outputs take them.

    Args:
        config: The job.
        figures: What gates took out of the texts.
        texts: Gives the kept rows, anew at each call; of those whose label was voted on, the ones that keep it.
        is_verified: Whether labels were voted on.
    """
    labels = list(config.task.labels) if figures.labels else []
    return TextSet(
        rows=lambda: map(_row, texts()),
        holds="label" if labels else "nothing",
        labels=labels,
        question=config.task.question,
        instruction=instruction(config.task),
        made_by="xpoll/synthesis",
        is_pair=False,
        table=ParquetTable(_SCHEMA, {"train": lambda: (text[:-1] for text in texts())}, COLUMNS),
        card=lambda rows: card_lines(config, figures, rows, is_verified=is_verified),
        tags=("synthetic", "personas", "xpoll"),
    )


def _row(text: SynthesizedText) -> OutputRow:
    return OutputRow(text.id, text.text, label=text.label, prompt=text.prompt, completion=text.completion)


def card_lines(config: Config, figures: SynthesisFigures, rows: int, *, is_verified: bool) -> Iterator[str]:
    """What the data card says, line by line.

    Args:
        config: The job.
        figures: What gates took out of the texts.
        rows: How many rows were written.
        is_verified: Whether labels were voted on.
    """
    labels = list(config.task.labels) if figures.labels else []
    asked = f"{number(figures.asked)} were asked for, {number(figures.kept)} passed the gates"
    voted = f", {number(rows)} of these keep the label that they were written for by a panel's vote"
    yield f"{number(rows)} texts that a language model wrote in the name of personas."
    yield f"{asked}{voted if is_verified else ''}."
    yield from ("**No person wrote or read them**; where they state facts, these may be wrong.", "")
    yield from ("## How they were made", "")
    yield f"* model: `{as_line(config.engine.model)}` ({as_line(config.engine.backend)})"
    yield f"* templates: {', '.join(f'`{as_line(each)}`' for each in figures.templates)}"
    source = config.synthesis.persona_file or "the library of xpoll" if not config.synthesis.personas else "named"
    yield f"* personas: {number(figures.personas)} different ones, from {as_line(source)}"
    if labels:
        yield f"* labels: {', '.join(f'`{as_line(label)}`' for label in labels)}"
    if config.synthesis.marginals:
        yield f"* wanted mix of personas: {as_line(config.synthesis.marginals)}"
    yield f"* seed: {config.job.seed}"
    yield from ("", "## What was taken out", "")
    yield from card_table(("gate", "what it takes out", "texts", "of those seen"), figures.table())
    if found := diversity_rows(figures):
        yield from ("", "## How far the texts differ", "")
        yield from card_table(("arm", "texts", "distinct-1", "distinct-2", "self-BLEU", "mean cosine distance"), found)
        yield from ("", "Lower self-BLEU and higher values of the others are more diverse.")
