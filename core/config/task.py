"""The [task] section: labels, what is asked about them, and how many of them a text gets."""

from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from xpoll.core.sameness import folded

SEPARATOR = "|"
"""Between the labels of one text, where a file holds them as one word."""


class Section(BaseModel):
    """A table of the TOML: unknown keys are refused, and the docstring of a field is its help text."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, protected_namespaces=())


class Example(Section):
    """A few-shot example."""

    text: str
    text_pair: str | None = None
    """The second text, where `documents.text_pair_column` names one."""
    label: str = ""
    """The right label; where a text can have several there are `labels` instead."""
    labels: list[str] | None = None
    """All labels that fit, none if it is empty."""
    spans: list[dict[str, str]] | None = None
    """In a spans task, all spans of the text in their order: {text = "exact words", label = "..."}."""
    reason: str = ""
    """Why; shown in chain-of-thought prompts, which need it."""

    @property
    def named(self) -> list[str]:
        """The labels that it names."""
        if self.spans is not None:
            return [span.get("label", "") for span in self.spans]
        return [self.label] if self.labels is None else self.labels


class TaskConfig(Section):
    """[task]: labels, and what is asked about them."""

    labels: dict[str, str] = {}
    """Label names, or a table of label name to description; the descriptions are put into the prompt. Required unless
    the job only writes texts."""
    kind: str = "single"
    """`single`: one label per text. `ordinal`: the labels are the steps of a scale, from lowest to highest, and a text
    gets the median of its votes. `multi`: any number of labels per text, each voted on by itself. `spans`: labelled
    parts of a text, quoted word by word. See docs/howto/tasks.md; the table is in votes/tasks/registry.py."""
    question: str = "Which label fits the text best?"
    """What the panel is asked about each text."""
    label_priors: dict[str, float] | None = None
    """Expected share of each label, if known, for calibration; without it no label is expected more than another."""
    examples: list[Example] = []
    """Texts with a known label. Prompts show them in this order; an encoder compares texts to them, too."""

    @field_validator("labels", mode="before")
    @classmethod
    def _names_become_a_table(cls, labels: Any) -> Any:
        if isinstance(labels, list):
            if len(set(map(str, labels))) != len(labels):
                raise ValueError(f"labels must differ from each other, got {labels}")
            return {str(name): "" for name in labels}
        return labels

    @model_validator(mode="after")
    def _labels_can_be_told_apart(self) -> "TaskConfig":
        if self.labels and len(self.labels) < 2:
            raise ValueError(f"labels must name at least 2 labels, got {list(self.labels)}")
        if any(not name.strip() for name in self.labels):
            raise ValueError("labels must not be empty")
        if len(set(map(folded, self.labels))) != len(self.labels):
            raise ValueError(f"labels must differ in more than case and spaces, got {list(self.labels)}")
        for example in self.examples:
            if unknown := [label for label in example.named if label not in self.labels]:
                raise ValueError(f"examples: label {unknown[0]!r} is not one of {list(self.labels)}")
        if self.label_priors is not None:
            if set(self.label_priors) != set(self.labels):
                raise ValueError(f"label_priors must name exactly the labels {list(self.labels)}")
            if min(self.label_priors.values()) <= 0 or abs(sum(self.label_priors.values()) - 1) > 1e-6:
                raise ValueError("label_priors must be greater than 0 and sum to 1")
        return self
