"""Options of the encoder backend, `[engine.encoder]`. Imports no PyTorch."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, field_validator

from xpoll.core.config.job import Section

Scoring = Literal["similarity", "entailment", "rerank"]

TEMPERATURES: dict[Scoring, float] = {"similarity": 0.05, "entailment": 1.0, "rerank": 1.0}
"""What scores are divided by unless the job says otherwise: cosines by the inverse of the scale (20) with which
sentence-transformers' contrastive losses train, logits by 1."""
HYPOTHESIS = "This text is about {label}."


class EncoderOptions(Section):
    """`[engine.encoder]`."""

    scoring: Literal["auto"] | Scoring = "auto"
    """How a label is held against a text: `similarity` of their embeddings, `entailment` of a sentence that names the
    label, or `rerank`, one logit for text and label together. `auto` takes what the model was trained for: by its
    architecture, number of labels and their names."""
    label_template: str = ""
    """How a label is worded, of `{label}` and `{description}`, e.g. "It concerns {label}.". Without it the label and,
    behind a colon, its description; for entailment the description, or "This text is about {label}."."""
    text_template: str = "{text}"
    """What is put around a text, e.g. "query: {text}" for a model that was trained with that prefix."""
    pooling: Literal["auto", "mean", "cls", "last"] = "auto"
    """What the embedding of a text is: the mean of its tokens, or its first or last one. `auto` reads the model's
    1_Pooling/config.json, and takes the mean where there is none."""
    temperature: float | None = Field(default=None, gt=0)
    """What scores are divided by before the softmax over the labels; without it 0.05 for similarity, else 1. The vote
    calibrates."""
    max_length: int | None = Field(default=None, ge=8)
    """Longest input in tokens, text and label together where they are read together; longer texts are cut at the end.
    Without it what the model was made for."""
    batch_size: Annotated[int, Field(ge=1)] = 32
    """Most inputs, of like length, that are computed together."""
    gather_ms: Annotated[float, Field(ge=0)] = 5
    """How long to wait for further texts before computing, in milliseconds."""

    @field_validator("label_template", "text_template")
    @classmethod
    def _can_be_filled(cls, template: str) -> str:
        try:
            filled = template.format(label="l", description="d", text="t")
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(f"{template!r} cannot be filled: {error}") from error
        if template and filled == template:
            raise ValueError(f"{template!r} names nothing that changes")
        return template


def worded_labels(
    labels: Sequence[str], descriptions: Sequence[str], scoring: Scoring, template: str = ""
) -> list[str]:
    """Each label as the encoder reads it; underscores in names are spaces.

    Args:
        labels: The labels.
        descriptions: Their descriptions, as many; empty where there is none.
        scoring: Without a template it decides the wording.
        template: `label_template`.
    """
    words = [label.replace("_", " ") for label in labels]
    pairs = list(zip(words, descriptions or [""] * len(words), strict=True))
    if template:
        return [template.format(label=word, description=description or word) for word, description in pairs]
    if scoring == "entailment":
        return [description or HYPOTHESIS.format(label=word) for word, description in pairs]
    return [f"{word}: {description}" if description else word for word, description in pairs]
