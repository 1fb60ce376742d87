"""Every way to vote on the same answers to a spans task, side by side.

Reads votes.parquet and labels.parquet of a run. Writes nothing. A figure that needs gold spans is None without them.
"""

from typing import Any

import pyarrow.parquet as pq

from xpoll.core.config.job import Config
from xpoll.core.errors import UserError
from xpoll.core.f1 import macro_f1, micro_f1
from xpoll.core.record_files import stream_records
from xpoll.core.run_folder import RunFolder
from xpoll.core.span_records import SpanVote
from xpoll.core.spans import as_spans, exact_counts, overlap_counts, token_counts
from xpoll.votes.methods.registry import METHODS
from xpoll.votes.span_consensus import decided_spans, placed_votes, span_shares


def compare_spans(folder: RunFolder, config: Config) -> dict[str, Any]:
    """The comparison of a run that was voted on, as plain JSON types.

    Raises:
        RunFolderError: the run was not voted on.
    """
    labels = list(config.task.labels)
    table = pq.read_table(folder.require(folder.labels, step="vote"), columns=["document_id", "text", "gold_spans"])
    ids, texts, gold = (table.column(name).to_pylist() for name in table.column_names)
    votes = stream_records(folder.require(folder.votes, step="vote"), SpanVote)
    cast = placed_votes(list(zip(ids, texts, strict=True)), votes)
    counted = [[vote for vote in each if vote.counts] for each in cast]
    known = [number for number, each in enumerate(gold) if each is not None]
    truth, known_texts = [as_spans(gold[number]) for number in known], [texts[number] for number in known]
    rows: list[dict[str, Any]] = []
    for name, method in METHODS.items():
        if method.needs_logprobs:
            continue
        try:
            shares = span_shares(counted, labels, name, correlation=config.vote.correlation)
        except UserError as error:
            rows.append({"method": name, "left_out": str(error)})
            continue
        spans, torn = decided_spans(texts, shares, labels)
        row: dict[str, Any] = {"method": name, "left_out": None, "undecided": sum(map(len, torn))}
        row |= dict.fromkeys(("f1_micro", "f1_macro", "f1_overlap", "f1_token_macro"))
        if known:
            said = [spans[number] for number in known]
            exact = exact_counts(said, truth, labels)
            row |= {
                "f1_micro": micro_f1(exact).value,
                "f1_macro": macro_f1(exact).value,
                "f1_overlap": micro_f1(overlap_counts(said, truth, labels)).value,
                "f1_token_macro": macro_f1(token_counts(known_texts, said, truth, labels)).value,
            }
        rows.append(row)
    return {
        "documents": len(ids),
        "gold_rows": len(known),
        "votes": sum(map(len, counted)),
        "quotes_not_found": sum(vote.not_found for each in cast for vote in each),
        "methods": rows,
    }
