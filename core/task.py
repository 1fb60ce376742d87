"""The [task] section: labels, what is asked about them, and how many of them a text gets."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

TaskKind = Literal["single", "ordinal", "multi"]
SEPARATOR = "|"
"""Between the labels of one text, where a file holds them as one word."""


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, protected_namespaces=())


class Example(Section):
    text: str
    label: str = ""
    """The right label; of a `multi` task there are `labels` instead."""
    labels: list[str] | None = None
    """All labels that fit, none if it is empty."""
    reason: str = ""
    """Why; shown in chain-of-thought prompts, which need it."""


class TaskConfig(Section):
    labels: dict[str, str]
    """Label names, or a table of label name to description; the descriptions are put into the prompt."""
    kind: TaskKind = "single"
    """`single`: one label a text. `ordinal`: the labels are the steps of a scale, from lowest to highest, and a text
    gets the median of its votes. `multi`: any number of labels a text, each voted on by itself. See docs/tasks.md."""
    question: str = "Which label fits the text best?"
    """What the panel is asked about each text."""
    label_priors: dict[str, float] | None = None
    """Expected share of each label, if known, for calibration; without it no label is expected more than another."""
    examples: list[Example] = []
    """Few-shot examples, put before the text in this order."""

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
        if len(self.labels) < 2:
            raise ValueError(f"labels must name at least 2 labels, got {list(self.labels)}")
        if any(not name.strip() for name in self.labels):
            raise ValueError("labels must not be empty")
        folded = [name.strip().casefold() for name in self.labels]
        if len(set(folded)) != len(folded):
            raise ValueError(f"labels must differ in more than case and spaces, got {list(self.labels)}")
        for example in self.examples:
            self._check_example(example)
        if self.kind == "multi" and (split := [name for name in self.labels if SEPARATOR in name]):
            raise ValueError(f"labels of a multi task must not hold {SEPARATOR!r}, got {split}")
        if self.label_priors is not None:
            if set(self.label_priors) != set(self.labels):
                raise ValueError(f"label_priors must name exactly the labels {list(self.labels)}")
            if min(self.label_priors.values()) <= 0 or abs(sum(self.label_priors.values()) - 1) > 1e-6:
                raise ValueError("label_priors must be greater than 0 and sum to 1")
        return self

    def _check_example(self, example: Example) -> None:
        if (example.labels is not None) != (self.kind == "multi"):
            wanted = "labels, a list" if self.kind == "multi" else "label"
            raise ValueError(f"examples: with task.kind = {self.kind!r} an example has {wanted}, see {example.text!r}")
        for label in [example.label] if example.labels is None else example.labels:
            if label not in self.labels:
                raise ValueError(f"examples: label {label!r} is not one of {list(self.labels)}")
