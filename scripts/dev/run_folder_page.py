"""docs/reference/run-folder.md: what lies in a run folder, and the columns of its records."""

import inspect
from pathlib import Path

import pyarrow as pa

from xpoll.core import records, span_records
from xpoll.core.run_folder import RunFolder

HEAD = """# The run folder

Everything that a run writes lies in its folder (`job.run_folder`, by default `runs/NAME`). It can be copied and moved;
a step that is given a folder works on that one. Files are written whole or not at all.
[What is on disk](../explanation/engine.md#what-is-on-disk) says how answers are kept and how damage is known;
`xpoll check RUN` looks.

This page is made from the code: `python -m xpoll.scripts.dev.pages`.

## Files

| file or folder | what it holds |
|---|---|
"""
RECORDS = (
    ("documents.parquet", records.Document, records.DOCUMENT_SCHEMA),
    ("completions/part-N.parquet", records.Completion, records.COMPLETION_SCHEMA),
    ("votes.parquet", records.Vote, records.VOTE_SCHEMA),
    ("labels.parquet", records.Consensus, records.CONSENSUS_SCHEMA),
    ("votes.parquet, several labels", records.SetVote, records.SET_VOTE_SCHEMA),
    ("labels.parquet, several labels", records.SetConsensus, records.SET_CONSENSUS_SCHEMA),
    ("votes.parquet, spans", span_records.SpanVote, span_records.SPAN_VOTE_SCHEMA),
    ("labels.parquet, spans", span_records.SpanConsensus, span_records.SPAN_CONSENSUS_SCHEMA),
)


def page() -> str:
    """The whole page: files in the order of the data, then columns."""
    folder = RunFolder(Path("RUN"))
    rows = [
        f"| `{getattr(folder, name).relative_to('RUN')}` | {_one_line(member.__doc__)} |"
        for name, member in vars(RunFolder).items()
        if isinstance(member, property) and isinstance(getattr(folder, name), Path)
    ]
    parts = [HEAD + "\n".join(rows) + "\n", "## Records\n\nParquet, one row per record; columns may be null.\n"]
    return "\n".join([*parts, *(_section(*each) for each in RECORDS)])


def _section(title: str, record: type, schema: pa.Schema) -> str:
    about = _one_line(inspect.getdoc(record))
    columns = [f"| `{field.name}` | `{field.type}` |" for field in schema]
    return "\n".join([f"### {title}", "", about, "", "| column | Arrow type |", "|---|---|", *columns, ""])


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())
