"""`/classify`, as vLLM's pooling models have it: texts in, a label and a probability per class for each.

Source: vLLM's vllm/entrypoints/pooling/classify/protocol.py.
"""

import time
import uuid
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, StrictStr, Tag

from xpoll.pipeline.serving.request_error import RequestError
from xpoll.pipeline.serving.text_label import TextLabel, TokensSpent

MOST_TEXTS = 1024


def _form(value: Any) -> str | None:
    return "text" if isinstance(value, str) else "parts" if isinstance(value, list) else None


class ClassifyRequest(BaseModel):
    """The body of a request; as in vLLM's, fields that it does not know are left alone."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())

    model: StrictStr | None = None
    input: Annotated[
        Annotated[StrictStr, Tag("text")]
        | Annotated[list[StrictStr], Field(min_length=1, max_length=MOST_TEXTS), Tag("parts")],
        Discriminator(_form, custom_error_type="form", custom_error_message="must be a text or a list of texts"),
    ]
    use_activation: bool | None = None
    request_id: StrictStr = Field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def texts(self) -> list[str]:
        """The texts, one or many.

        Raises:
            RequestError: scores without activation are wanted.
        """
        if self.use_activation is False:
            raise RequestError(
                "use_activation: this model gives probabilities, not scores before activation", param="use_activation"
            )
        return [self.input] if isinstance(self.input, str) else self.input


def classify_response(
    model: str, request: ClassifyRequest, said: Sequence[TextLabel], labels: Sequence[str]
) -> dict[str, Any]:
    """The body of a response, without what xpoll adds to it; `label` is null where the panel abstains.

    Of a student that gives a text several labels `labels` has them, and `label` is the likeliest of all, as vLLM has
    it, whether it fits or not.
    """
    data = [
        {
            "index": number,
            **_named(each, labels),
            "probs": list(each.distribution or [1 / len(labels)] * len(labels)),
            "num_classes": len(labels),
        }
        for number, each in enumerate(said)
    ]
    spent = sum_of(said)
    usage = {
        "prompt_tokens": spent.input_tokens,
        "completion_tokens": spent.output_tokens,
        "total_tokens": spent.input_tokens + spent.output_tokens,
        "prompt_tokens_details": {"cached_tokens": spent.cached_tokens},
    }
    created = int(time.time())
    return {
        "id": f"classify-{request.request_id}",
        "object": "list",
        "created": created,
        "model": model,
        "data": data,
        "usage": usage,
    }


def _named(said: TextLabel, labels: Sequence[str]) -> dict[str, Any]:
    if said.labels is None or said.distribution is None:
        return {"label": said.label}
    return {"label": labels[said.distribution.index(max(said.distribution))], "labels": list(said.labels)}


def sum_of(said: Sequence[TextLabel]) -> TokensSpent:
    """The tokens of all texts."""
    spent = TokensSpent()
    for each in said:
        spent = spent.plus(each.spent)
    return spent
