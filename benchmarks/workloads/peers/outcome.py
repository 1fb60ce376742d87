"""What a peer answered, held against what was asked: answers missing and doubled, labels, agreement, accuracy."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from xpoll.benchmarks.workloads.labelled_sets import LabelledSet
from xpoll.votes.parse import parse


class PeerAnswer(NamedTuple):
    """A line of answers.jsonl."""

    row_id: str
    sample: int
    text: str


class PeerOutcome(NamedTuple):
    """Answers of one run.

    Attributes:
        answers: Different ones that were asked for.
        missing: Needed and not there.
        doubled: Lines for an answer that was there already.
        lost_rows: Rows without all answers that they need.
        unparsable: Answers in which xpoll reads no label.
        labels: Majority label by row; None where there is none, because of a tie or without a readable answer.
    """

    answers: int
    missing: int
    doubled: int
    lost_rows: int
    unparsable: int
    labels: dict[str, str | None]


def read_answers(path: Path) -> list[PeerAnswer]:
    """Whole lines of an answers.jsonl; empty where it is not there. A line that a kill cut off is left out."""
    if not path.exists():
        return []
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]:
        try:
            read = json.loads(line)
        except ValueError:  # cut off by a kill, with the next session's first line behind it
            continue
        found.append(PeerAnswer(str(read["id"]), int(read["sample"]), str(read["text"])))
    return found


def outcome_of(
    answers: Sequence[PeerAnswer], row_ids: Sequence[str], labels: Sequence[str], *, samples: int, needed: int
) -> PeerOutcome:
    """Counts answers and votes on labels.

    Args:
        answers: As read.
        row_ids: Of all rows.
        labels: All labels.
        samples: Answers that each row may have.
        needed: Answers that each row is to have at least.
    """
    lines = Counter((each.row_id, each.sample) for each in answers)
    first = {(each.row_id, each.sample): each.text for each in reversed(answers)}
    wanted = {(row_id, sample) for row_id in row_ids for sample in range(samples)}
    found = {key: parse(text, list(labels)).label for key, text in first.items() if key in wanted}
    of_row: dict[str, list[str]] = {row_id: [] for row_id in row_ids}
    for (row_id, _), label in found.items():
        if label is not None:
            of_row[row_id].append(label)
    have = Counter(row_id for row_id, _ in found)
    return PeerOutcome(
        answers=len(found),
        missing=sum(max(0, needed - have[row_id]) for row_id in row_ids),
        doubled=lines.total() - len(lines),
        lost_rows=sum(have[row_id] < needed for row_id in row_ids),
        unparsable=sum(label is None for label in found.values()),
        labels={row_id: majority_of(votes) for row_id, votes in of_row.items()},
    )


def majority_of(votes: Sequence[str]) -> str | None:
    """The most frequent label; None where several are, or none."""
    ranked = Counter(votes).most_common(2)
    is_tied = len(ranked) == 2 and ranked[0][1] == ranked[1][1]
    return None if is_tied or not ranked else ranked[0][0]


def agreement_of(found: Mapping[str, str | None], reference: Mapping[str, str | None]) -> float | None:
    """Share of the rows in both, with a label in the reference, that have the same label; None without such rows."""
    both = [row_id for row_id, label in reference.items() if label is not None and row_id in found]
    return sum(found[row_id] == reference[row_id] for row_id in both) / len(both) if both else None


def right_of(found: Mapping[str, str | None], rows: LabelledSet) -> int:
    """How many rows have the label that people gave them."""
    named = dict(zip(found, rows.named(rows.truth[: len(found)]), strict=True))
    return sum(label == named[row_id] for row_id, label in found.items())
