"""`/v1/decisions`, as OpenAI's Decisions API and vLLM 0.33 have it: an input, a list of questions, a list of answers.

Of OpenAI's schema this takes what is text: an input that is a string or user messages with text and JSON parts.
Images, tool calls and messages of other roles are refused, as vLLM refuses them. What only steers a prompt cache
is accepted and does nothing.

Source: https://developers.openai.com/api/reference/resources/decisions, and vLLM's
vllm/entrypoints/openai/decisions/protocol.py.
"""

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, StrictBool, StrictStr, Tag

from xpoll.pipeline.serving.questions import LabelAnswer, LabelQuestion, answer_to, predicate_about, question_about
from xpoll.pipeline.serving.text_label import TextLabel, TokensSpent

MOST_QUESTIONS = 400


class Strict(BaseModel):
    """A part of a request. Unknown fields are refused: one that is ignored could be one that changes the answer."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class TextPart(Strict):
    """A part of a message."""

    type: Literal["input_text"]
    text: StrictStr
    prompt_cache_breakpoint: Any = None


class JsonPart(Strict):
    """A part of a message that is read as compact JSON text."""

    type: Literal["input_json"]
    data: dict[str, Any] | list[dict[str, Any]]


def _form(value: Any) -> str | None:
    return "text" if isinstance(value, str) else "parts" if isinstance(value, list) else None


Part = Annotated[TextPart | JsonPart, Field(discriminator="type")]
Content = Annotated[
    Annotated[StrictStr, Tag("text")] | Annotated[list[Part], Tag("parts")],
    Discriminator(_form, custom_error_type="form", custom_error_message="must be a text or a list of parts"),
]


class UserMessage(Strict):
    """A message of the input."""

    role: Literal["user"]
    content: Content
    type: Literal["message"] = "message"


class PredicateQuestion(Strict):
    """Whether something is true of the input."""

    type: Literal["predicate"]
    instructions: Content
    name: StrictStr | None = None


class OfferedChoice(Strict):
    """An option of a choice."""

    value: StrictStr | StrictBool
    description: StrictStr = ""


class ChoiceQuestion(Strict):
    """Which of the options fits."""

    type: Literal["choice"]
    instructions: Content
    name: StrictStr | None = None
    choices: list[OfferedChoice] = Field(min_length=2, max_length=255)


class OfferedLevel(Strict):
    """A step of a scale."""

    label: StrictStr
    description: StrictStr = ""


class ScoreQuestion(Strict):
    """Where on a scale the input lies."""

    type: Literal["score"]
    instructions: Content
    name: StrictStr | None = None
    levels: list[OfferedLevel] = Field(min_length=2, max_length=255)


class DecisionRequest(Strict):
    """The body of a request."""

    model: StrictStr
    input: Annotated[
        Annotated[StrictStr, Tag("text")] | Annotated[list[UserMessage], Tag("parts")],
        Discriminator(_form, custom_error_type="form", custom_error_message="must be a text or a list of messages"),
    ]
    questions: list[Annotated[PredicateQuestion | ChoiceQuestion | ScoreQuestion, Field(discriminator="type")]] = Field(
        min_length=1, max_length=MOST_QUESTIONS
    )
    safety_identifier: StrictStr | None = None
    prompt_cache_key: StrictStr | None = None
    prompt_cache_options: dict[str, Any] | None = None

    @property
    def text(self) -> str:
        """The input as one text: parts on lines of their own, messages with an empty line between them."""
        if isinstance(self.input, str):
            return self.input
        return "\n\n".join(_content_text(message.content) for message in self.input)

    def questions_about(self, labels: Sequence[str]) -> list[LabelQuestion]:
        """The questions, read as questions about a task's labels.

        Raises:
            RequestError: one of them is not.
        """
        found = []
        for number, question in enumerate(self.questions):
            where = f"questions.{number}"
            if isinstance(question, PredicateQuestion):
                found.append(predicate_about(question.name, labels, where=where))
            elif isinstance(question, ChoiceQuestion):
                options = [choice.value for choice in question.choices]
                found.append(question_about("choice", question.name, options, labels, where=where))
            else:
                levels = [level.label for level in question.levels]
                found.append(question_about("score", question.name, levels, labels, where=where))
        return found


def _content_text(content: str | list[TextPart | JsonPart]) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part.text if isinstance(part, TextPart) else compact_json(part.data) for part in content)


def compact_json(value: Any) -> str:
    """A JSON value as a text to label."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def decision_answer(question: LabelQuestion, answer: LabelAnswer | None) -> dict[str, Any]:
    """One entry of `answers`; a refusal, which OpenAI's schema has, where there is no answer."""
    if answer is None:
        return {"type": "refusal", "name": question.name}
    named = {"type": question.kind, "name": question.name}
    if question.kind == "predicate":
        return named | {"probability": answer.mass}
    options = zip(question.options, answer.shares, strict=True)
    if question.kind == "score":
        steps = [{"value": i, "label": label, "probability": share} for i, (label, share) in enumerate(options)]
        return named | {"score": answer.score, "probabilities": steps, "confidence": answer.confidence}
    shares = [{"value": option, "probability": share} for option, share in options]
    chosen = question.options[answer.winner]
    return named | {"choice": chosen, "probabilities": shares, "confidence": answer.confidence}


def decision_usage(spent: TokensSpent) -> dict[str, Any]:
    """`usage` of a response."""
    return {
        "input_tokens": spent.input_tokens,
        "input_tokens_details": {"cached_tokens": spent.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": spent.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": spent.input_tokens + spent.output_tokens,
    }


def decision_response(
    model: str, questions: Sequence[LabelQuestion], said: TextLabel, labels: Sequence[str]
) -> dict[str, Any]:
    """The body of a response, without what xpoll adds to it."""
    answers = [decision_answer(question, answer_to(question, said, labels)) for question in questions]
    return {"model": model, "answers": answers, "usage": decision_usage(said.spent)}
