"""Which of Transformers' heads an encoder gets for a kind of student."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple


class HeadForm(NamedTuple):
    """A head as Transformers knows it.

    Attributes:
        architecture: Behind AutoModelFor.
        problem_type: As the model's config has it; with `architecture` it tells whose head a student folder has.
        outputs: From the task's labels to the names of the model's outputs.
    """

    architecture: Literal["SequenceClassification", "TokenClassification"]
    problem_type: str | None
    outputs: Callable[[Sequence[str]], list[str]] = list


ONE_LABEL = HeadForm("SequenceClassification", "single_label_classification")
"""A softmax over the labels."""
