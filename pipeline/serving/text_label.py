"""What labels texts behind an address: the protocol that student, panel and cascade have in common."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol


class TokensSpent(NamedTuple):
    """Tokens that a text took; `input_tokens` counts `cached_tokens` too."""

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0

    def plus(self, other: "TokensSpent") -> "TokensSpent":
        """The sum of both."""
        return TokensSpent(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


class TextLabel(NamedTuple):
    """What is said of one text.

    Attributes:
        label: None where the panel abstains; `abstained` then says why.
        distribution: Over the labels in their order, sums to 1; None where no answer of the panel can be read.
        answered_by: Whose the label is.
        spent: Tokens of all prompts about the text.
        votes: Answers that were counted; None of a student.
        abstained: Why there is no label.
        labels: All labels that fit, where a text can have several; `distribution` then has a probability for each label
            of the task and does not sum to 1, and `label` is None.
    """

    label: str | None
    distribution: tuple[float, ...] | None
    answered_by: Literal["student", "panel"]
    spent: TokensSpent = TokensSpent()
    votes: int | None = None
    abstained: str | None = None
    labels: tuple[str, ...] | None = None


class TextLabeller(Protocol):
    """Labels texts, many at a time."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of `TextLabel.distribution`."""

    @property
    def is_ready(self) -> bool:
        """Whether a text that comes now is labelled without waiting for a start."""

    @property
    def counting(self) -> str | None:
        """How the panel's votes become a label, in words for the response; None where there is no panel."""

    async def label_texts(self, texts: Sequence[str]) -> list[TextLabel]:
        """One label per text, in their order.

        Raises:
            RequestError: a text cannot be labelled, or not now.
        """
