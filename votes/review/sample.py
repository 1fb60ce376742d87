"""The audit sample: the labels that people check, and their answers.

Reads the voted labels. Writes review.json: the strata, and for each document of the sample its stratum,
its weight (how many documents it stands for), the label and confidence that the votes gave it, and, once
people have answered, their label. No step removes the file, because it holds people's work.

The documents with a label are ranked by confidence and cut into strata from which equally many documents
are drawn, so that every document has the same chance, to within one document per stratum, and doubtful
and certain labels are in the sample in their true proportion.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np

from xpoll.core.errors import InputError, RunFolderError
from xpoll.core.files import read_object, write_json
from xpoll.core.records import Consensus
from xpoll.votes.review.bound import Certificate, Stratum, certify

NoBound = Literal["nobody answered", "answers used up", "labels changed"]
"""Why no bound on the labels' accuracy can be stated; report/wording.py has the sentences."""

SCHEMA_VERSION = 1
STRATA = 10


def draw_sample(consensus: Iterable[Consensus], *, size: int, seed: int) -> dict[str, Any]:
    """A sample of the labelled documents of the train split, without answers yet, as plain JSON types.

    Args:
        consensus: All documents; the order does not matter.
        size: Number of documents to draw.
        seed: Of the draw.

    Raises:
        InputError: `size` is not between 1 and the number of labelled documents.
    """
    rows = ranked(labelled(consensus), seed)
    if not 1 <= size <= len(rows):
        raise InputError(
            f"--size {size} documents cannot be drawn from {len(rows)} that have a label", mend="choose another --size"
        )
    draw = np.random.default_rng(seed)
    strata, drawn, low = [], [], 0
    for number, (documents, count) in enumerate(strata_of(len(rows), size)):
        high, weight = low + documents, documents / count
        strata.append(
            {
                "documents": documents,
                "sampled": count,
                "lowest_confidence": rows[low].confidence,
                "highest_confidence": rows[high - 1].confidence,
            }
        )
        for place in sorted(draw.choice(np.arange(low, high), count, replace=False).tolist()):
            row = rows[place]
            drawn.append(
                {
                    "document_id": row.document_id,
                    "stratum": number,
                    "weight": weight,
                    "voted_label": row.label,
                    "confidence": row.confidence,
                    "label": None,
                }
            )
        low = high
    draw.shuffle(drawn)  # so that people do not see the doubtful ones first
    return {
        "schema_version": SCHEMA_VERSION,
        "seed": seed,
        "documents": len(rows),
        "sampled": size,
        "fingerprint": _fingerprint(rows),
        "strata": strata,
        "rows": drawn,
    }


def strata_of(documents: int, size: int) -> list[Stratum]:
    """How a sample of `size` is spread: strata of whole documents, as equally sampled as they can be."""
    num_strata = min(STRATA, size)
    sampled = [size // num_strata + (i < size % num_strata) for i in range(num_strata)]
    ends = [round(documents * done / size) for done in np.cumsum([0, *sampled]).tolist()]
    return [Stratum(high - low, count) for (low, high), count in zip(pairwise(ends), sampled, strict=True)]


def ranked(rows: Iterable[Consensus], seed: int) -> list[Consensus]:
    """The least confident first; documents of equal confidence in an order that their labels do not decide."""
    return sorted(rows, key=lambda row: (row.confidence, _mixed(row.document_id, seed)))


def read_review(path: Path) -> dict[str, Any] | None:
    """The content of review.json; None where it does not exist.

    Raises:
        RunFolderError: it was written by another version.
    """
    if not path.exists():
        return None
    review = read_object(path)
    if review.get("schema_version") != SCHEMA_VERSION:
        raise RunFolderError(f"{path} is of another version of xpoll", mend="move it away and draw a new sample")
    return review


def write_review(path: Path, review: Mapping[str, Any]) -> None:
    """Writes review.json atomically.

    Raises:
        RunFolderError: it cannot be written.
    """
    write_json(path, review)


def answers_of(review: Mapping[str, Any] | None) -> dict[str, str]:
    """Document id to the label that people gave; empty without a review."""
    rows = [*review["rows"], *review.get("doubtful", {}).get("rows", ())] if review else []
    return {row["document_id"]: row["label"] for row in rows if row["label"] is not None}


def certificate_of(
    review: Mapping[str, Any], consensus: Iterable[Consensus], *, learnt_from: bool
) -> tuple[Certificate | None, NoBound | None]:
    """The bound on the labels' accuracy, or why there is none.

    Args:
        review: The content of review.json.
        consensus: The labels as they are now.
        learnt_from: Whether the votes were weighted by the answers.
    """
    if reason := no_bound(review, consensus, learnt_from=learnt_from):
        return None, reason
    wrong = sum(row["label"] not in (None, row["voted_label"]) for row in review["rows"])
    unanswered = sum(row["label"] is None for row in review["rows"])
    return certify(sampled_strata(review), wrong=wrong, unanswered=unanswered), None


def no_bound(review: Mapping[str, Any], consensus: Iterable[Consensus], *, learnt_from: bool) -> NoBound | None:
    """Why the answers say nothing of the labels as they are now; None where they do. As `certificate_of`."""
    if all(row["label"] is None for row in review["rows"]):
        return "nobody answered"
    if learnt_from:
        return "answers used up"
    return None if _fingerprint(labelled(consensus)) == review["fingerprint"] else "labels changed"


def sampled_strata(review: Mapping[str, Any]) -> list[Stratum]:
    """What was drawn from what."""
    return [Stratum(stratum["documents"], stratum["sampled"]) for stratum in review["strata"]]


def labelled(consensus: Iterable[Consensus]) -> list[Consensus]:
    """The documents of the train split that the votes gave a label, with that label."""
    voted = (row if row.voted_label is None else row._replace(label=row.voted_label) for row in consensus)
    return [row for row in voted if row.split == "train" and row.label is not None]


def _fingerprint(rows: Sequence[Consensus]) -> str:
    digest = hashlib.sha256()
    for row in sorted(rows, key=lambda row: row.document_id):
        digest.update(f"{row.document_id}\x1f{row.label}\x1e".encode())
    return digest.hexdigest()


def _mixed(document_id: str, seed: int) -> bytes:
    """A sort key for documents of equal confidence, so that their order does not depend on the file's."""
    return hashlib.sha256(f"{seed}\x1f{document_id}".encode()).digest()
