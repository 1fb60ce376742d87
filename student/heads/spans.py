"""Labelled spans of a text: tags of tokens, trained on the share of the votes that put each token into a span."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xpoll.core.errors import InputError
from xpoll.core.span_records import SpanConsensus
from xpoll.core.spans import TextSpan, as_spans, exact_counts, overlap_counts, token_counts
from xpoll.student.calibration import FittedTemperature
from xpoll.student.dataset import TrainingRows, divided
from xpoll.student.evaluation import Evaluation, MostFrequent
from xpoll.student.heads.f1_evaluation import (
    F1Rating,
    check_gold,
    check_same_labels,
    f1_evaluation,
    nothing_scored,
)
from xpoll.student.heads.form import HeadForm
from xpoll.student.heads.head import Head
from xpoll.student.inference.tags import tags_of
from xpoll.student.training_record import Forecast


def span_rows(consensus: Sequence[SpanConsensus], labels: Sequence[str]) -> TrainingRows:
    """The decided rows of the train split, in order; a text without a span is one of them.

    Raises:
        InputError: no row was decided, none has a span, or a label is not one of `labels`.
    """
    found = divided(consensus, lambda row: row.spans, lambda row: row.gold_spans)
    named = {span["label"] for row in found.rows for span in (*row.spans, *row.candidates)}
    if unknown := sorted(named - set(labels)):
        raise InputError(
            f"label {unknown[0]!r} is not one of {list(labels)}", mend="write the labels anew with xpoll vote"
        )
    if not any(row.spans for row in found.rows):
        raise InputError(
            f"the votes put no span into any of the {len(found.rows)} decided documents",
            mend="reword task.question and the label descriptions, add task.examples, and poll again",
        )
    return found


def span_targets(rows: Sequence[SpanConsensus], labels: Sequence[str], *, soft: bool) -> np.ndarray:
    """(rows,) of lists: [start, end, label, share] of every voted span, or of the decided ones with a share of 1."""
    made = np.empty(len(rows), object)
    for number, row in enumerate(rows):
        marked = [span for span in as_spans(row.candidates if soft else row.spans or ()) if span.label in labels]
        made[number] = [[span.start, span.end, span.label, span.share if soft else 1.0] for span in marked]
    return made


def span_label_counts(rows: Sequence[SpanConsensus], labels: Sequence[str]) -> dict[str, int]:
    """Number of rows that have a span of each label, in label order."""
    counts = Counter(label for row in rows for label in {span["label"] for span in row.spans or ()})
    return {label: counts[label] for label in labels}


def evaluate_spans(
    rows: Sequence[SpanConsensus],
    labels: Sequence[str],
    student: Any,
    *,
    other_seeds: Sequence[Any] = (),
    wanted: float = 0.9,
    forecast: Forecast | None = None,
) -> Evaluation:
    """The scores of spans on the gold rows; see `student.evaluate.evaluate` for the arguments.

    A span is right if its label and both ends are. A text whose votes abstain has none right.

    Raises:
        InputError: a gold label is not one of `labels`.
        ModelError: the student's labels are not `labels`.
    """
    gold = [row for row in rows if row.split == "gold" and row.gold_spans is not None]
    not_scored = sum(row.split == "gold" for row in rows) - len(gold)
    if not gold:
        return nothing_scored(not_scored, labels)
    truth = [as_spans(row.gold_spans or ()) for row in gold]
    check_gold([span.label for spans in truth for span in spans], labels)
    texts = [row.text for row in gold]
    votes = [None if row.spans is None else as_spans(row.spans) for row in gold]
    students = [] if student is None else [student, *other_seeds]
    for each in students:
        check_same_labels(each.labels, labels)
    rated = [_rated(each.spans(texts), texts, truth, labels) for each in students]
    return f1_evaluation(
        labels,
        [_places(spans) for spans in truth],
        _rated(votes, texts, truth, labels),
        rated[0] if rated else None,
        constant=MostFrequent(label="", share=0.0),
        not_scored=not_scored,
        other_seeds=rated[1:],
        wanted=wanted,
        forecast=forecast,
    )


def _rated(
    said: Sequence[Sequence[TextSpan] | None],
    texts: Sequence[str],
    truth: Sequence[Sequence[TextSpan]],
    labels: Sequence[str],
) -> F1Rating:
    named = [each or [] for each in said]
    return F1Rating(
        [None if each is None else _places(each) for each in said],
        exact_counts(named, truth, labels),
        overlap=overlap_counts(named, truth, labels),
        tokens=token_counts(texts, named, truth, labels),
    )


def _places(spans: Sequence[TextSpan]) -> frozenset[tuple[int, int, str]]:
    return frozenset(span.place for span in spans)


def _objective() -> Any:
    from xpoll.student.training.objectives import TokenObjective

    return TokenObjective


def _calibrated(encoder: Any, texts: Sequence[str], votes: np.ndarray, _folder: Path) -> FittedTemperature:
    """No temperature; the share of held-out texts whose voted spans it gives."""
    from xpoll.student.inference.span_model import find_spans
    from xpoll.student.inference.torch_forward import TorchForward

    found = find_spans(encoder, TorchForward(encoder.model, [encoder.model.device]), texts)
    voted = [frozenset((start, end, label) for start, end, label, share in each if share > 0.5) for each in votes]
    right = [_places(mine) == real for mine, real in zip(found, voted, strict=True)]
    return FittedTemperature(1.0, sum(right) / len(right) if right else None)


def _load(folder: Path, **how: Any) -> Any:
    from xpoll.student.inference.span_model import SpanModel

    return SpanModel(folder, **how)


SPANS = Head(
    "spans",
    SpanConsensus,
    HeadForm("TokenClassification", None, tags_of),
    span_rows,
    span_targets,
    span_label_counts,
    _objective,
    _calibrated,
    _load,
    evaluate_spans,
    probe="tokens",
)
