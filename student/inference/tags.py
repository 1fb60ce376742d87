"""Spans as tags of tokens, and back: a span begins with the tag B-LABEL and goes on with I-LABEL; O is outside.

Source: Ramshaw and Marcus, "Text Chunking using Transformation-Based Learning", 1995; the form is IOB2.
"""

from collections.abc import Sequence

import numpy as np

from xpoll.core.spans import TextSpan, trimmed

OUTSIDE = "O"


def tags_of(labels: Sequence[str]) -> list[str]:
    """Names of a model's outputs: O, then B- and I- of each label."""
    return [OUTSIDE, *(f"{part}-{label}" for label in labels for part in "BI")]


def labels_of_tags(tags: Sequence[str]) -> list[str]:
    """The labels that `tags_of` made tags of."""
    return [tag.removeprefix("B-") for tag in tags[1::2]]


def token_targets(
    text: str, offsets: Sequence[tuple[int, int]], spans: Sequence[TextSpan], labels: Sequence[str], num_tags: int
) -> np.ndarray:
    """(tokens, tags) float32: for each token the share of each tag; rows sum to 1.

    A token is of a span if they share a character that is no white space, and begins it if it is the first such one.
    Where spans overlap so that shares sum to more than 1, they are scaled to 1.

    Args:
        text: What the tokens are of.
        offsets: First character and the one behind the last of each token.
        spans: With the share of the votes that mark each.
        labels: The task's labels in their order.
        num_tags: Number of `tags_of(labels)`.
    """
    made = np.zeros((len(offsets), num_tags), np.float32)
    number = {label: i for i, label in enumerate(labels)}
    places = [trimmed(text, start, end) for start, end in offsets]
    for span in spans:
        inside = False
        for token, (start, end) in enumerate(places):
            if start < end and start < span.end and span.start < end:
                made[token, 1 + 2 * number[span.label] + inside] += span.share
                inside = True
    total = made.sum(1, keepdims=True)
    made = np.where(total > 1, made / np.maximum(total, 1e-9), made)
    made[:, 0] = np.maximum(0.0, 1.0 - made.sum(1))
    return made


def spans_of_tags(
    text: str, offsets: Sequence[tuple[int, int]], probabilities: np.ndarray, labels: Sequence[str]
) -> list[TextSpan]:
    """The spans that the likeliest tags of the tokens make, in order; `share` is the mean probability of their label.

    A token that goes on with a label that the token before it does not have begins a span.

    Args:
        text: What the tokens are of.
        offsets: First character and the one behind the last of each token; empty for special tokens.
        probabilities: (tokens, tags).
        labels: The task's labels in their order.
    """
    found: list[TextSpan] = []
    open_label, start, end, shares = -1, 0, 0, list[float]()

    def close() -> None:
        if open_label >= 0:
            place = trimmed(text, start, end)
            if place[0] < place[1]:
                found.append(TextSpan(*place, labels[open_label], float(np.mean(shares))))

    for (first, behind), row in zip(offsets, probabilities, strict=True):
        if first == behind:
            continue
        tag = int(row.argmax())
        label = (tag - 1) // 2 if tag else -1
        if label != open_label or tag % 2 == 1:
            close()
            open_label, start, shares = label, first, []
        end = behind
        if label >= 0:
            shares.append(float(row[1 + 2 * label] + row[2 + 2 * label]))
    close()
    return found
