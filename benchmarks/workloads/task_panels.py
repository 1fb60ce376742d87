"""Panels whose errors are known: what personas that err at stated rates answer about texts whose labels are known.

The answers are text, in the form that an engine is held to, so that they are read and counted as an engine's are. A
share of the errors about a text is common to all personas of a panel: personas that speak through one model err
together.
"""

import json
import re
from collections.abc import Sequence
from random import Random
from typing import NamedTuple

import numpy as np

from xpoll.core.records import Completion
from xpoll.core.spans import TextSpan

COMMON = 0.5
"""Share of a persona's errors that all personas of the panel make."""
_WORD = re.compile(r"\S+")


class SetErrors(NamedTuple):
    """How a persona errs about sets of labels: the share of right labels that it leaves out, and how many it adds."""

    misses: float
    adds: float


class SpanErrors(NamedTuple):
    """How a persona errs about spans, each as a share of the right ones."""

    misses: float
    wrong_label: float
    wrong_end: float
    """One word too many or too few."""
    adds: float
    """Per text: a word that is nothing."""
    misquotes: float
    """Quotes that the text does not hold."""


def set_answers(
    truth: np.ndarray, labels: Sequence[str], errors: Sequence[SetErrors], *, seed: int
) -> list[Completion]:
    """One answer per text and persona.

    Args:
        truth: (texts, labels) bool.
        labels: Their names.
        errors: Of each persona.
        seed: Of all draws.
    """
    answers = []
    for number, real in enumerate(truth.tolist()):
        common = Random(f"{seed} {number}")
        shared = [common.random() for _ in labels], common.random(), common.randrange(len(labels))
        for person, rates in enumerate(errors):
            own = Random(f"{seed} {number} {person}")
            said = []
            for label, fits, theirs in zip(labels, real, shared[0], strict=True):
                chance = theirs if own.random() < COMMON else own.random()
                if fits and chance >= rates.misses:
                    said.append(label)
            together = own.random() < COMMON
            added = labels[shared[2] if together else own.randrange(len(labels))]
            if (shared[1] if together else own.random()) < rates.adds and added not in said:
                said.append(added)
            answers.append(_answer(number, person, said))
    return answers


def span_answers(
    texts: Sequence[str],
    truth: Sequence[Sequence[TextSpan]],
    labels: Sequence[str],
    errors: Sequence[SpanErrors],
    *,
    seed: int,
) -> list[Completion]:
    """One answer per text and persona: exact quotes with labels.

    Args:
        texts: The texts.
        truth: The spans of each.
        labels: The task's labels.
        errors: Of each persona.
        seed: Of all draws.
    """
    answers = []
    for number, (text, real) in enumerate(zip(texts, truth, strict=True)):
        words = [(found.start(), found.end()) for found in _WORD.finditer(text)]
        for person, rates in enumerate(errors):
            said = []
            for place, span in enumerate(real):
                together = Random(f"{seed} {number} {place} {person} common").random() < COMMON
                draw = Random(f"{seed} {number} {place}" if together else f"{seed} {number} {place} {person}")
                quoted = _quoted(text, words, span, labels, rates, draw)
                if quoted is not None:
                    said.append(quoted)
            together = Random(f"{seed} {number} {person} added").random() < COMMON
            draw = Random(f"{seed} {number} added" if together else f"{seed} {number} added {person}")
            if words and draw.random() < rates.adds:
                start, end = draw.choice(words)
                said.append({"text": text[start:end], "label": draw.choice(list(labels))})
            answers.append(_answer(number, person, said))
    return answers


def _quoted(
    text: str,
    words: Sequence[tuple[int, int]],
    span: TextSpan,
    labels: Sequence[str],
    rates: SpanErrors,
    draw: Random,
) -> dict[str, str] | None:
    chance, start, end, label = draw.random(), span.start, span.end, span.label
    if chance < rates.misses:
        return None
    chance -= rates.misses
    if chance < rates.wrong_label:
        label = draw.choice([each for each in labels if each != label])
    elif chance < rates.wrong_label + rates.wrong_end:
        before = [first for first, _ in words if first < start]
        inside = [first for first, _ in words if start < first < end]
        start = draw.choice((before[-1:] + inside[:1]) or [start])
    elif chance < rates.wrong_label + rates.wrong_end + rates.misquotes:
        return {"text": f"the {text[start:end].upper()}!", "label": label}
    return {"text": text[start:end], "label": label}


def _answer(number: int, person: int, said: Sequence[object]) -> Completion:
    text = json.dumps(said, ensure_ascii=False)
    return Completion(str(number), f"persona {person}", 0, text=text, finish_reason="stop")
