"""`/v1/systemone`, as TypeSafe's API and vLLM 0.32 have it: a state, and questions by their ids.

Source: vLLM's vllm/entrypoints/generate/structured_decisions/protocol.py.
"""

import time
import uuid
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, StrictStr

from xpoll.pipeline.serving.decisions import MOST_QUESTIONS, Strict, compact_json
from xpoll.pipeline.serving.questions import LabelAnswer, LabelQuestion, answer_to, predicate_about, question_about
from xpoll.pipeline.serving.request_error import RequestError
from xpoll.pipeline.serving.text_label import TextLabel


class SystemOneQuestion(Strict):
    """A question. `criteria` is a map of options of a `choice`, a list of levels of a `score`, free of a `noul`."""

    type: Literal["choice", "noul", "score"]
    instructions: Any = ""
    criteria: Any = None


class SystemOneRequest(Strict):
    """The body of a request. What steers a chat template, a cache or a queue is accepted and does nothing."""

    model: StrictStr | None = None
    state: Any
    questions: dict[StrictStr, SystemOneQuestion] = Field(min_length=1, max_length=MOST_QUESTIONS)
    instructions: StrictStr | None = None
    images: list[StrictStr] | None = None
    audio: list[StrictStr] | None = None
    videos: list[StrictStr] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    cache_salt: StrictStr | None = None
    priority: int = 0
    request_id: StrictStr = Field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def text(self) -> str:
        """The state as a text: what is no text as compact JSON."""
        return self.state if isinstance(self.state, str) else compact_json(self.state)

    def questions_about(self, labels: Sequence[str]) -> list[LabelQuestion]:
        """The questions, read as questions about a task's labels.

        Raises:
            RequestError: one of them is not, or the request holds what a text model does not take.
        """
        for name in ("images", "audio", "videos"):
            if getattr(self, name):
                raise RequestError(f"{name}: this model reads text alone", param=name)
        if self.instructions:
            raise RequestError("instructions: this model reads a text as it is, it takes none", param="instructions")
        return [_question(name, asked, labels) for name, asked in self.questions.items()]


def _question(name: str, asked: SystemOneQuestion, labels: Sequence[str]) -> LabelQuestion:
    where, criteria = f"questions.{name}", asked.criteria
    if asked.type == "noul":
        return predicate_about(name, labels, where=where)
    if asked.type == "choice":
        if not isinstance(criteria, dict) or not criteria:
            raise RequestError(f"{where}: criteria must map option names to a description or null", param=where)
        return question_about("choice", name, list(criteria), labels, where=where)
    if not isinstance(criteria, list) or len(criteria) < 2 or not all(isinstance(level, str) for level in criteria):
        raise RequestError(f"{where}: criteria must be a list of two levels or more", param=where)
    return question_about("score", name, criteria, labels, where=where)


def systemone_answer(question: LabelQuestion, answer: LabelAnswer | None) -> dict[str, Any]:
    """One of `answers`; `{"type": "refusal"}` where there is no answer, for which the API has no form of its own."""
    if answer is None:
        return {"type": "refusal"}
    if question.kind == "predicate":
        yes, no = answer.mass, 1 - answer.mass
        return {"type": "noul", "noul": yes, "probabilities": {"yes": yes, "no": no}, "confidence": max(yes, no)}
    if question.kind == "choice":
        shares = {str(option): share for option, share in zip(question.options, answer.shares, strict=True)}
        chosen = question.options[answer.winner]
        return {"type": "choice", "choice": chosen, "probabilities": shares, "confidence": answer.confidence}
    return {
        "type": "score",
        "score": answer.score,
        "legend": {str(place): level for place, level in enumerate(question.options)},
        "probabilities": {str(place): share for place, share in enumerate(answer.shares)},
        "confidence": answer.confidence,
    }


def systemone_response(
    model: str, request: SystemOneRequest, questions: Sequence[LabelQuestion], said: TextLabel, labels: Sequence[str]
) -> dict[str, Any]:
    """The body of a response, without what xpoll adds to it.

    `label_mass` is the probability of the options among the labels, where vLLM's is among all tokens.
    """
    answers, diagnostics = {}, {}
    for name, question in zip(request.questions, questions, strict=True):
        answer = answer_to(question, said, labels)
        answers[name] = systemone_answer(question, answer)
        mass = 0.0 if answer is None else 1.0 if question.kind == "predicate" else answer.mass
        best = max(said.distribution) if said.distribution else 2.0
        likeliest = question.kind == "predicate" or bool(answer and answer.confidence >= best)
        diagnostics[name] = {"label_mass": mass, "argmax_is_label": answer is not None and likeliest}
    return {
        "id": f"decision-{request.request_id}",
        "object": "structured_decision",
        "created": int(time.time()),
        "model": model,
        "answers": answers,
        "usage": {"input_tokens": said.spent.input_tokens, "output_tokens": said.spent.output_tokens},
        "diagnostics": diagnostics,
    }
