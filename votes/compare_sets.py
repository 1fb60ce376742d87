"""Every way to vote on the same answers to a task of several labels per text, side by side.

Reads votes.parquet and labels.parquet of a run. Writes nothing. A figure that needs gold labels is None
without them.
"""

from typing import Any

import numpy as np
import pyarrow.parquet as pq

from xpoll.core.config.job import Config
from xpoll.core.errors import UserError
from xpoll.core.record_files import stream_records
from xpoll.core.records import SetVote
from xpoll.core.run_folder import RunFolder
from xpoll.votes.label_sets import decided_sets, shares_of_sets
from xpoll.votes.methods.registry import METHODS


def compare_sets(folder: RunFolder, config: Config) -> dict[str, Any]:
    """The comparison of a run that was voted on, as plain JSON types.

    Raises:
        RunFolderError: the run was not voted on.
    """
    labels = list(config.task.labels)
    table = pq.read_table(folder.require(folder.labels, step="vote"), columns=["document_id", "gold_labels"])
    ids, gold = (table.column(name).to_pylist() for name in ("document_id", "gold_labels"))
    votes = list(stream_records(folder.require(folder.votes, step="vote"), SetVote))
    truth = np.array([[-1] * len(labels) if each is None else [label in each for label in labels] for each in gold])
    read = any(vote.probabilities is not None for vote in votes)
    rows: list[dict[str, Any]] = []
    for name, method in METHODS.items():
        if method.needs_logprobs and not (read and method.of_sets):
            continue
        try:
            shares = shares_of_sets(ids, votes, labels, name, correlation=config.vote.correlation)
        except UserError as error:
            rows.append({"method": name, "left_out": str(error)})
            continue
        rows.append({"method": name, "left_out": None, **set_scores(shares, truth)})
    return {
        "documents": len(ids),
        "gold_rows": sum(each is not None for each in gold),
        "votes": sum(vote.labels is not None for vote in votes),
        "methods": rows,
    }


def set_scores(shares: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """Whole sets and single labels against gold; an undecided label is not in the set, and one more sets it apart.

    Args:
        shares: (documents, labels) that say that a label fits; NaN without a vote.
        truth: (documents, labels) 1, 0, or -1 without gold labels.
    """
    sides = decided_sets(shares)
    read = ~np.isnan(shares[:, 0])
    found: dict[str, Any] = {
        "undecided": int((sides[read] < 0).sum()),
        "labels_each": float((sides[read] == 1).sum(1).mean()) if read.any() else 0.0,
    }
    known = truth[:, 0] >= 0
    if not known.any():
        return found | dict.fromkeys(("set_accuracy", "f1_micro", "f1_macro"))
    said, right = sides[known] == 1, truth[known] == 1
    whole = (sides[known] == truth[known]).all(1)
    hits, named, wanted = (said & right).sum(0), said.sum(0), right.sum(0)
    each = np.divide(2 * hits, named + wanted, out=np.ones(len(hits)), where=named + wanted > 0)
    total = int(named.sum() + wanted.sum())
    return found | {
        "set_accuracy": float(whole.mean()),
        "f1_micro": 2 * int(hits.sum()) / total if total else 1.0,
        "f1_macro": float(each.mean()),
    }
