"""The labels of a run as a set of texts that outputs write (core/outputs).

Reads labels.parquet, documents.parquet, panel.json and, where it is there, evaluation.json.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from xpoll.core.config.job import Config
from xpoll.core.files import read_json
from xpoll.core.formatting import as_line, counted, number, share_with_interval
from xpoll.core.outputs.output import Holds, LabelledSpan, OutputRow, ParquetTable, TextSet
from xpoll.core.pairs import is_pair, parts_of
from xpoll.core.record_files import stream_records
from xpoll.core.records import AnyRecord, Consensus, SetConsensus
from xpoll.core.run_folder import RunFolder
from xpoll.core.span_records import SPAN_TYPE, SpanConsensus
from xpoll.personas.prompts import instruction
from xpoll.student.evaluation import read_evaluation
from xpoll.student.heads.registry import HEADS
from xpoll.votes.tasks.registry import kind_of

_HOLDS: Mapping[type[Any], tuple[Holds, pa.DataType]] = {
    Consensus: ("label", pa.string()),
    SetConsensus: ("labels", pa.list_(pa.string())),
    SpanConsensus: ("spans", SPAN_TYPE),
}
"""Record of labels.parquet to what a text can have, and its type."""


def label_text_set(config: Config, folder: RunFolder) -> TextSet:
    """Every text of a run with its label, gold rows among them.

    Args:
        config: The job.
        folder: Its run folder.

    Raises:
        RunFolderError: there are no labels yet, or the file is damaged.
    """
    path, kind = folder.require(folder.labels, step="vote"), kind_of(config.task.kind)
    record = HEADS[kind.head].record
    holds, column = _HOLDS[record]
    pairs = bool(config.documents.text_pair_column) and holds != "spans"

    def rows() -> Iterator[OutputRow]:
        return (_row(each, pairs=pairs) for each in stream_records(path, record))

    def split(gold: bool) -> Callable[[], Iterator[tuple[Any, ...]]]:
        chosen = "gold" if gold else "train"
        return lambda: (
            cells
            for each in stream_records(path, record)
            if each.split == chosen and (cells := _cells(each, pairs=pairs)) is not None
        )

    schema = pa.schema(
        [
            ("id", pa.string()),
            ("text", pa.string()),
            *([("text_pair", pa.string())] if pairs else []),
            (holds, column),
            (f"voted_{holds}", column),
            ("score", pa.float64()),
        ]
    )
    return TextSet(
        rows=rows,
        holds=holds,
        labels=list(config.task.labels),
        question=config.task.question,
        instruction=instruction(config.task, kind.form),
        made_by=f"xpoll/{config.vote.method}",
        is_pair=pairs,
        table=ParquetTable(schema, {"train": split(gold=False), "test": split(gold=True)}, _columns(holds, pairs)),
        card=lambda written: _card(config, folder, rows, written),
        tags=("machine-labelled", "xpoll"),
    )


def _row(row: AnyRecord, *, pairs: bool) -> OutputRow:
    assert isinstance(row, Consensus | SetConsensus | SpanConsensus)
    first, second = parts_of(row.text) if pairs and is_pair(row.text) else (row.text, "" if pairs else None)
    label, score = _voted(row)
    is_gold = row.split == "gold"
    note = None if label is not None else row.abstained
    return OutputRow(row.document_id, first, second, label, score, is_gold=is_gold, note=note)


def _voted(
    row: Consensus | SetConsensus | SpanConsensus,
) -> tuple[str | tuple[str, ...] | tuple[LabelledSpan, ...] | None, float | None]:
    """The label, and how sure its least sure part is; a person's label is sure."""
    if isinstance(row, Consensus):
        return row.label, None if row.label is None else 1.0 if row.voted_label is not None else row.confidence
    if isinstance(row, SetConsensus):
        sure = [max(share, 1 - share) for share in row.shares]
        return row.labels, None if row.labels is None or not sure else min(sure)
    spans = None if row.spans is None else _spans(row.spans)
    return spans, min((span.share for span in spans or () if span.share is not None), default=None)


def _spans(held: tuple[dict[str, Any], ...]) -> tuple[LabelledSpan, ...]:
    return tuple(LabelledSpan(each["start"], each["end"], each["label"], each["share"]) for each in held)


def _cells(row: Any, *, pairs: bool) -> tuple[Any, ...] | None:
    """A row of the Parquet table; None where it has no label to learn from, or to be measured by."""
    shown = _row(row, pairs=pairs)
    voted: Any = shown.label
    if isinstance(row, Consensus):
        gold: Any = row.gold_label
    else:
        gold = row.gold_labels if isinstance(row, SetConsensus) else row.gold_spans
        voted = (
            None if voted is None else [each._asdict() if isinstance(each, LabelledSpan) else each for each in voted]
        )
        gold = None if gold is None else list(gold)
    known = gold if shown.is_gold else voted
    if known is None:
        return None
    return (shown.id, shown.text, *([shown.text_pair] if pairs else []), known, voted, shown.score)


def _columns(holds: str, pairs: bool) -> dict[str, str]:
    many = {"label": "the label", "labels": "all labels that fit", "spans": "the labelled parts, in characters"}[holds]
    return {
        "id": "that of the text in its file",
        **({"text, text_pair": "the texts, which are labelled together"} if pairs else {"text": "the text"}),
        holds: f"{many}: in the split train by the panel's votes, in the split test by people",
        f"voted_{holds}": f"{many} by the panel's votes; null where they decide nothing",
        "score": "how sure the votes are, 0 to 1; of several labels or spans, of the least sure one",
    }


def _card(config: Config, folder: RunFolder, rows: Callable[[], Iterator[OutputRow]], written: int) -> Iterator[str]:
    undecided = sum(row.label is None and not row.is_gold for row in rows())
    yield f"{counted(written, 'text')} with labels that the votes of a panel of language models gave them."
    yield "**The labels of the split train are not made by people**; those of the split test, if there is one, are."
    yield from ("", f"The question: {as_line(config.task.question)}", "")
    yield from ("## How they were made", "")
    engines = [read_json(poll.config)["engine"] for poll in folder.polls().values() if poll.config.exists()]
    models = dict.fromkeys(f"`{as_line(engine['model'])}` ({as_line(engine['backend'])})" for engine in engines)
    yield f"* models: {', '.join(models)}"
    asked = sum(len(read_json(poll.panel)["personas"]) for poll in folder.polls().values() if poll.panel.exists())
    yield f"* personas: {number(asked)}"
    yield f"* votes counted by `{config.vote.method}`; {counted(undecided, 'text')} without a label left out"
    yield f"* labels: {', '.join(f'`{as_line(label)}`' for label in config.task.labels)}"
    yield f"* seed: {config.job.seed}"
    yield from ("", "## How often the labels are right", "")
    evaluation = read_evaluation(folder)
    if evaluation is None or evaluation.teacher is None:
        yield "Not measured: the run has no scores on texts that people have labelled."
        return
    score = evaluation.teacher
    what = "accuracy" if evaluation.measure == "accuracy" else "micro F1"
    yield (
        f"On {counted(evaluation.gold_rows, 'text')} with known labels: {what} "
        f"{share_with_interval(*score.of(evaluation.measure))}, abstentions counted as wrong."
    )
