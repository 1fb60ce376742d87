"""The page of tasks whose texts get any number of labels or labelled spans.

Read once and streamed: what is kept of a document is its id and a number for each of its votes, and the text only of
the sample.
"""

import hashlib
import heapq
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xpoll.core.formatting import number, percent
from xpoll.core.record_files import stream_records
from xpoll.core.records import SetConsensus, SetVote
from xpoll.core.span_records import SpanConsensus, SpanVote
from xpoll.report.charts import bars as charts
from xpoll.report.charts.bars import MOST_BARS, Bar, Chart, Table
from xpoll.report.charts.matrix import MOST_PAIRED, agreement
from xpoll.report.figures import COLOURS, RATERS, scores_of
from xpoll.report.panel import pair_agreement
from xpoll.report.sections.section import Sections
from xpoll.student.evaluation import Evaluation


class ShownMark(NamedTuple):
    """A label of a shown text, with the words that it is of (empty where it is of the whole text) and its share."""

    label: str
    words: str
    share: float


class ShownRow(NamedTuple):
    """A labelled text of the page's sample; `marks` is None where its votes abstain, `gold` without gold labels."""

    document_id: str
    text: str
    marks: Sequence[ShownMark] | None
    gold: Sequence[ShownMark] | None
    votes_counted: int
    undecided: int
    abstained: str | None

    @property
    def is_right(self) -> bool:
        """Whether it has just the labels and words of gold."""
        return self.marks is not None and self.gold is not None and _same(self.marks) == _same(self.gold)


def _same(marks: Sequence[ShownMark]) -> list[tuple[str, str]]:
    return sorted((mark.label, mark.words) for mark in marks)


def _set_row(row: SetConsensus, labels: Sequence[str]) -> ShownRow:
    share = dict(zip(labels, row.shares, strict=True))
    marks = None if row.labels is None else [ShownMark(label, "", share[label]) for label in row.labels]
    gold = None if row.gold_labels is None else [ShownMark(label, "", 1.0) for label in row.gold_labels]
    return ShownRow(row.document_id, row.text, marks, gold, row.votes_counted, len(row.undecided), row.abstained)


def _span_row(row: SpanConsensus, _labels: Sequence[str]) -> ShownRow:
    def shown(spans: Sequence[Mapping[str, Any]] | None) -> list[ShownMark] | None:
        if spans is None:
            return None
        return [ShownMark(each["label"], row.text[each["start"] : each["end"]], each["share"]) for each in spans]

    marks, gold = shown(row.spans), shown(row.gold_spans)
    return ShownRow(row.document_id, row.text, marks, gold, row.votes_counted, len(row.undecided), row.abstained)


class MarkDecisions:
    """labels.parquet, read once: how many documents have each label, why others abstain, and a sample of the texts.

    Args:
        path: labels.parquet.
        labels: The task's labels in their order.
        sample_rows: Most rows of `sample`, chosen by a hash of their id.
    """

    record: type[Any] = SetConsensus

    def __init__(self, path: Path, labels: Sequence[str], sample_rows: int) -> None:
        self.row_of: dict[str, int] = {}
        self.abstained: Counter[str] = Counter()
        self.documents_with: Counter[str] = Counter()
        self.gold_with: Counter[str] = Counter()
        self.marks = self.undecided = self.not_found = num_gold = 0
        answers: list[int] = []
        self._numbers: dict[Hashable, int] = {}
        chosen: list[tuple[int, int, ShownRow]] = []
        for row in stream_records(path, self.record):
            self.row_of[row.document_id] = len(self.row_of)
            shown = _span_row(row, labels) if isinstance(row, SpanConsensus) else _set_row(row, labels)
            self.not_found += getattr(row, "quotes_not_found", 0)
            self.undecided += shown.undecided
            if shown.marks is None:
                self.abstained[shown.abstained or "no reason given"] += 1
                answers.append(-1)
            else:
                self.documents_with.update({mark.label for mark in shown.marks})
                self.marks += len(shown.marks)
                answers.append(self.number_of(frozenset(_same(shown.marks))))
            if shown.gold is not None:
                num_gold += 1
                self.gold_with.update({mark.label for mark in shown.gold})
            rank = int.from_bytes(hashlib.sha256(row.document_id.encode()).digest()[:8])
            heapq.heappush(chosen, (-rank, len(self.row_of), shown))
            if len(chosen) > sample_rows:
                heapq.heappop(chosen)
        self.final = np.array(answers, np.int64)
        self.gold = range(num_gold)
        self.sample = [shown for *_, shown in sorted(chosen, key=lambda ranked: -ranked[0])]

    def number_of(self, answer: Hashable) -> int:
        """A number that is equal for equal answers."""
        return self._numbers.setdefault(answer, len(self._numbers))


class SpanDecisions(MarkDecisions):
    """The same of a spans task."""

    record = SpanConsensus


class MarkPersona(NamedTuple):
    """How one persona answers.

    `marks_each` is its labels or spans per answer, `with_label` how often its answer is just what was voted.
    """

    name: str
    answers: int
    parsed: int
    unparsable: int
    errors: int
    marks_each: float | None
    with_label: float | None


class MarkPanel:
    """votes.parquet, read once: how each persona answers, and how often two of them give the same answer.

    Args:
        path: votes.parquet.
        _labels: The task's labels.
        decisions: What became of the documents.
        panel: The panel section of the config.
        names: What personas are called on the page, by id.
    """

    record: type[Any] = SetVote

    def __init__(
        self,
        path: Path,
        _labels: Sequence[str],
        decisions: MarkDecisions,
        panel: Mapping[str, Any],
        names: Mapping[str, str] | None = None,
    ) -> None:
        blank = np.full((len(decisions.row_of), panel["samples"]), -1, np.int64)
        answers: dict[str, np.ndarray] = {}
        tallies: dict[str, Counter[str]] = {}
        self.unparsable: Counter[str] = Counter()
        self.reasons: dict[str, Any] = {}
        for vote in stream_records(path, self.record):
            if vote.document_id not in decisions.row_of:
                continue  # somebody took the document out of labels.parquet
            if vote.persona_id not in answers:
                answers[vote.persona_id], tallies[vote.persona_id] = blank.copy(), Counter()
            tally, marks = tallies[vote.persona_id], _marks_of(vote)
            if marks is None:
                kind = "errors" if str(vote.unparsable).startswith("error: ") else "unparsable"
                tally[kind] += 1
                if kind == "unparsable":
                    self.unparsable[str(vote.unparsable)] += 1
                continue
            tally["parsed"] += 1
            tally["marks"] += len(marks)
            row = decisions.row_of[vote.document_id]
            answers[vote.persona_id][row, vote.sample] = decisions.number_of(frozenset(marks))
        order = {name: i for i, name in enumerate(panel["personas"])}
        asked = sorted(answers, key=lambda name: (order.get(name, len(order)), name))
        self.personas = [
            MarkPersona(
                (names or {}).get(name, name),
                tallies[name]["parsed"] + tallies[name]["unparsable"],
                tallies[name]["parsed"],
                tallies[name]["unparsable"],
                tallies[name]["errors"],
                tallies[name]["marks"] / tallies[name]["parsed"] if tallies[name]["parsed"] else None,
                pair_agreement(answers[name], decisions.final[:, None]),
            )
            for name in asked
        ]
        self.agreement = [[pair_agreement(answers[a], answers[b], same=a == b) for b in asked] for a in asked]

    @property
    def mean_agreement(self) -> float | None:
        """Mean over all pairs of different personas; None where no pair answers the same document."""
        pairs = [share for i, row in enumerate(self.agreement) for share in row[:i] if share is not None]
        return sum(pairs) / len(pairs) if pairs else None


class SpanPanel(MarkPanel):
    """The same of a spans task."""

    record = SpanVote


def _marks_of(vote: SetVote | SpanVote) -> list[tuple[str, str]] | None:
    """Labels and words, as those of a shown text."""
    if isinstance(vote, SpanVote):
        return None if vote.quotes is None else [(each["label"], each["text"].strip()) for each in vote.quotes]
    return None if vote.labels is None else [(label, "") for label in vote.labels]


def mark_charts(
    evaluation: Evaluation | None, labels: Sequence[str], decisions: MarkDecisions, panel: MarkPanel, _student: Path
) -> dict[str, Chart]:
    """The drawings by the name under which the templates look for them; one without numbers is left out."""
    drawn = {"label_mix": _label_mix(labels, decisions)}
    if 1 < len(panel.personas) <= MOST_PAIRED:
        names = [persona.name for persona in panel.personas]
        drawn["agreement"] = agreement("agreement", "Personas that give the same answer", names, panel.agreement)
    scores = scores_of(evaluation)
    if evaluation and scores and evaluation.most_frequent:
        reference = (
            (f"always '{evaluation.most_frequent.label}'", evaluation.most_frequent.share)
            if evaluation.most_frequent.label
            else None
        )
        micro = [
            Bar(RATERS[rater], *_with_ends(score.of("f1_micro")), COLOURS[rater]) for rater, score in scores.items()
        ]
        macro = [
            Bar(RATERS[rater], score.f1_macro, *score.f1_macro_ci95, COLOURS[rater]) for rater, score in scores.items()
        ]
        drawn["accuracy"] = charts.bars("accuracy", "Micro F1", micro, reference=reference)
        drawn["f1_macro"] = charts.bars("f1", "Macro F1", macro)
    return drawn


def _with_ends(measured: tuple[float, tuple[float, float]]) -> tuple[float, float, float]:
    value, (low, high) = measured
    return value, low, high


def _label_mix(labels: Sequence[str], decisions: MarkDecisions) -> Chart:
    total = max(1, len(decisions.row_of))
    counts = [decisions.documents_with[label] for label in labels]
    order = sorted(range(len(labels)), key=lambda i: (-counts[i], i))[:MOST_BARS]
    drawn = [Bar(labels[i], counts[i] / total, colour="teacher", note=f"{counts[i]:,}") for i in order]
    title = "Documents with each label, as voted"
    if len(labels) > MOST_BARS:
        title += f" (the {MOST_BARS} most frequent of {len(labels)})"
    chart = charts.bars("label-mix", title, drawn)
    rows = [
        [label, number(count), percent(count / total), number(decisions.gold_with[label]) if decisions.gold else "-"]
        for label, count in zip(labels, counts, strict=True)
    ]
    return chart._replace(table=Table(["Label", "Documents", "Share", "In gold"], rows))


SETS = Sections(MarkDecisions, MarkPanel, mark_charts, "panel_marks.html.jinja", "data_marks.html.jinja")
SPANS = Sections(SpanDecisions, SpanPanel, mark_charts, "panel_marks.html.jinja", "data_marks.html.jinja")
