"""A student folder as what finds labelled spans in texts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xpoll.core.spans import TextSpan
from xpoll.student.calibration import softmax
from xpoll.student.inference.forward import forward_of
from xpoll.student.inference.logits import Forward, length_batches, longest_text
from xpoll.student.inference.model import labels_of
from xpoll.student.inference.outputs import AnsweredRow, OutputColumn
from xpoll.student.inference.tags import labels_of_tags, spans_of_tags
from xpoll.student.training.encoder import Encoder, load_student


def find_spans(encoder: Encoder, forward: Forward, texts: Sequence[str]) -> list[list[TextSpan]]:
    """The spans of each text, in order; none behind the place where a long text is cut.

    Args:
        encoder: Tokenizer and model; the model is in eval mode.
        forward: Computes the model.
        texts: Any number.
    """
    if not texts:
        return []
    tokenizer, named = encoder.tokenizer, encoder.model.config.id2label
    labels = labels_of_tags([named[i] for i in range(len(named))])
    batches = length_batches(encoder, texts)
    cut = {"truncation": True, "max_length": longest_text(encoder), "return_offsets_mapping": True}
    offsets = tokenizer(list(texts), **cut)["offset_mapping"]
    found: list[list[TextSpan]] = [[] for _ in texts]
    for (rows, _), scores in zip(batches, forward([padded for _, padded in batches]), strict=True):
        for row, tags in zip(rows, scores, strict=True):
            tokens = len(offsets[row])
            own = tags[len(tags) - tokens :] if tokenizer.padding_side == "left" else tags[:tokens]
            found[row] = spans_of_tags(texts[row], offsets[row], softmax(own), labels)
    return found


class SpanModel:
    """A fine-tuned model that tags tokens.

    Args:
        folder: Student folder.
        runtime: pytorch or onnx.
        device: As the runtime calls it; without it all accelerators, or the CPU.

    Raises:
        ModelError: the folder holds no such student, or it was not exported.
        ConfigError: there is no such device, or the runtime is another one.
    """

    def __init__(self, folder: Path, *, runtime: str = "pytorch", device: str | None = None) -> None:
        self.labels = labels_of_tags(labels_of(folder))
        self._encoder = load_student(str(folder), architecture="TokenClassification")
        self._forward = forward_of(folder, self._encoder, runtime=runtime, device=device)

    def spans(self, texts: Sequence[str]) -> list[list[TextSpan]]:
        """The spans of each text, in order; none behind the place where a long text is cut."""
        return find_spans(self._encoder, self._forward, texts)

    @property
    def longest(self) -> int:
        """Tokens that a text is cut at."""
        return longest_text(self._encoder)

    @property
    def columns(self) -> list[OutputColumn]:
        """What is written of a text: its spans."""
        return [OutputColumn("spans", "spans")]

    def compute(self, texts: Sequence[str]) -> np.ndarray:
        """(spans, 5): number of the text, start, end, number of the label, probability."""
        rows = [
            [row, span.start, span.end, self.labels.index(span.label), span.share]
            for row, spans in enumerate(self.spans(texts))
            for span in spans
        ]
        return np.array(rows, np.float64).reshape(-1, 5)

    def rows(self, values: Sequence[dict[str, Any]], texts: Sequence[str], found: np.ndarray) -> list[AnsweredRow]:
        """Rows to write, of what `compute` found; each span with the words that it holds."""
        spans: list[list[dict[str, Any]]] = [[] for _ in texts]
        for row, start, end, label, share in found.tolist():
            words = texts[int(row)][int(start) : int(end)]
            named = {"start": int(start), "end": int(end), "label": self.labels[int(label)]}
            spans[int(row)].append({**named, "text": words, "probability": share})
        return [AnsweredRow(each, [marked], None) for each, marked in zip(values, spans, strict=True)]
