"""Converts between records and bodies of OpenAI's chat completions API: pure functions, no network."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from xpoll.core.records import AnswerSchema, Message, Prompt
from xpoll.engine.backends.choice_logprobs import NUM_ALTERNATIVES, answer_logprobs

Constraint = Literal["vllm", "response_format", "none"]


OUT_OF_CREDIT = frozenset({"insufficient_quota", "billing_hard_limit_reached", "insufficient_balance"})
"""Codes of errors that say so."""


class MalformedError(ValueError):
    """A response is a chat completion, and one of its values is not of the API's type."""


@dataclass(frozen=True, slots=True)
class Offers:
    """The features of an endpoint.

    Attributes:
        constraint: How it constrains an answer: by vLLM's `structured_outputs`, which takes choices and JSON
            schemas; by `response_format`, which takes schemas only; or not at all.
        n: Several answers to one request.
        logprobs: Logprobs of the answer's tokens.
        strict: Enforced schemas, for which it may refuse some keywords.
        length_key: Name of its parameter for the longest answer.
        temperature: A temperature of 1, which is no more than the default of an endpoint that refuses it.
    """

    constraint: Constraint = "vllm"
    n: bool = True
    logprobs: bool = True
    strict: bool = True
    length_key: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    temperature: bool = True

    def without(self, complaint: str, body: Mapping[str, Any]) -> "Offers | None":
        """The features without the one that the endpoint refused; None if the message is about none of them.

        Args:
            complaint: The endpoint's message about a request that held no text of the job: it may quote what it got.
            body: The request that it refused.
        """
        words = complaint.replace("'", " ").replace('"', " ").replace("`", " ").casefold().split()
        if self.length_key == "max_tokens" and "max_completion_tokens" in complaint:
            return replace(self, length_key="max_completion_tokens")
        if "logprobs" in body and "logprobs" in complaint:
            return replace(self, logprobs=False)
        if self.strict and "response_format" in body and ("response_format" in complaint or "schema" in words):
            return replace(self, strict=False)
        if body.get("n", 1) > 1 and "n" in [word.strip(".,:;()") for word in words]:
            return replace(self, n=False)
        if body.get("temperature") == 1 and "temperature" in complaint:
            return replace(self, temperature=False)
        return None

    def unmet(self, prompt: Prompt) -> str | None:
        """Why the endpoint cannot hold an answer to what must hold; None if it can, or if nothing must."""
        answer = prompt.answer
        if not answer.must_hold or self.constraint == "vllm":
            return None
        if answer.json_schema is not None:
            enforces = self.constraint == "response_format" and self.strict
            return None if enforces else "this endpoint cannot hold an answer to a JSON schema"
        kind = "choices" if answer.choices else "structured_outputs"
        return f"this endpoint cannot hold an answer to {kind}, only to a JSON schema (response_format)"


def request_body(prompt: Prompt, *, model: str, offers: Offers, n: int = 1) -> dict[str, Any]:
    """The body of a chat completion request for `n` answers to one prompt.

    `response_format` cannot express bare choices: then the answer is free text, which is parsed strictly.

    Args:
        prompt: The prompt.
        model: Name of the model at the endpoint.
        offers: The endpoint's features.
        n: Number of answers.
    """
    prompt = prompt.in_words()
    sampling = prompt.sampling
    body: dict[str, Any] = {
        "model": model,
        "messages": list(prompt.messages),
        **json.loads(sampling.more or "{}"),
        **_constraint(prompt.answer, offers),
    }
    if offers.temperature or sampling.temperature != 1:
        body["temperature"] = sampling.temperature
    if sampling.top_p != 1:  # 1 is to leave it alone, and some endpoints take no second parameter beside temperature
        body["top_p"] = sampling.top_p
    if sampling.max_tokens is not None:
        body[offers.length_key] = sampling.max_tokens
    if prompt.answer.logprobs and offers.logprobs:
        body |= {"logprobs": True, "top_logprobs": NUM_ALTERNATIVES}
    if n > 1:
        body["n"] = n
    return body


def _constraint(answer: AnswerSchema, offers: Offers) -> dict[str, Any]:
    schema = json.loads(answer.json_schema) if answer.json_schema else None
    if offers.constraint == "vllm" and schema is not None:
        return {"structured_outputs": {"json": schema}}
    if offers.constraint == "vllm" and answer.choices:
        return {"structured_outputs": {"choice": list(answer.choices)}}
    if offers.constraint == "response_format" and schema is not None:
        named = {"name": "answer", "schema": schema, "strict": offers.strict}
        return {"response_format": {"type": "json_schema", "json_schema": named}}
    return {}


def completion_fields(response: Mapping[str, Any], answer: AnswerSchema) -> list[dict[str, Any]]:
    """The fields of one Completion per choice of a response, in order.

    The first choice carries the prompt's tokens, and output tokens that the endpoint reports as one sum are
    divided evenly, so that sums over rows equal the endpoint's counts.

    Args:
        response: The body of the response.
        answer: The schema of the answer.

    Raises:
        MalformedError: an answer is there, but is not a text; it would be the same again.
        ValueError: the response does not have the API's form.
    """
    try:
        choices = sorted(response["choices"], key=lambda choice: int(choice.get("index", 0)))
        usage = response.get("usage") or {}
        shares = _output_tokens(choices, int(usage.get("completion_tokens") or 0))
        fields = [
            {
                **_said(choice),
                "output_tokens": tokens,
                **_choice_logprobs(choice, answer),
            }
            for choice, tokens in zip(choices, shares, strict=True)
        ]
        fields[0]["prompt_tokens"] = int(usage.get("prompt_tokens") or 0)
        details = usage.get("prompt_tokens_details") or {}
        fields[0]["cached_prompt_tokens"] = int(details.get("cached_tokens") or 0)
    except (KeyError, IndexError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"not a chat completion: {type(error).__name__}: {error}") from error
    return fields


def _said(choice: Mapping[str, Any]) -> dict[str, Any]:
    """Text and finish reason of a choice, or the error that it is: thoughts are no answer, and a refusal is none."""
    message, finish = choice["message"], choice.get("finish_reason")
    content = message.get("content")
    if finish is not None and not isinstance(finish, str):
        raise MalformedError(f"finish_reason is {type(finish).__name__} {str(finish)[:80]}, not a text")
    thought = bool(message.get("reasoning_content") or message.get("reasoning"))
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, Mapping)]
        texts = [part["text"] for part in parts if part.get("type") == "text" and isinstance(part.get("text"), str)]
        thought = thought or len(parts) > len(texts)
        content = "".join(texts) if texts else None
    if content is not None and not isinstance(content, str):
        raise MalformedError(f"content is {type(content).__name__}, not a text")
    refusal = message.get("refusal")
    if not content and isinstance(refusal, str) and refusal:
        return {"error_kind": "refused", "error": refusal, "finish_reason": finish}
    if not content and thought and finish not in ("length", *_FAILED):
        return {"error_kind": "no_text", "error": "the model thought and gave no answer", "finish_reason": finish}
    return {"text": content or "", "finish_reason": finish}


_FAILED = ("error", "abort", "content_filter")


def failure_of(body: Any) -> tuple[int, Any] | None:
    """Status and body of the error that came with status 200, alone or as that of a choice; None where there is none.

    Args:
        body: The response, as JSON.
    """
    if not isinstance(body, Mapping):
        return None
    if body.get("error") and not body.get("choices"):
        return _status_in(body["error"]), body
    choices = body.get("choices")
    for choice in choices if isinstance(choices, list) else []:
        if isinstance(choice, Mapping) and choice.get("finish_reason") == "error":
            error = choice.get("error") or {"message": "the endpoint ended the answer with an error"}
            return _status_in(error), {"error": error}
    return None


def _status_in(error: Any) -> int:
    code = error.get("code") if isinstance(error, Mapping) else None
    return code if isinstance(code, int) and 400 <= code < 600 else 502


def _output_tokens(choices: Sequence[Mapping[str, Any]], total: int) -> list[int]:
    told = [len((choice.get("logprobs") or {}).get("content") or []) for choice in choices]
    if all(told) and sum(told) == total:
        return told
    each, rest = divmod(total, len(choices)) if choices else (0, 0)
    return [each + (i < rest) for i in range(len(choices))]


def _choice_logprobs(choice: Mapping[str, Any], answer: AnswerSchema) -> dict[str, Any]:
    if answer.questions:
        return {"unread_choices": len(answer.choices)}
    content = (choice.get("logprobs") or {}).get("content") or []
    if not content or not answer.logprobs:
        return {}
    # The token itself is not always among the alternatives.
    alternatives = [
        {option["token"]: float(option["logprob"]) for option in [*(step.get("top_logprobs") or []), step]}
        for step in content
    ]
    told = answer_logprobs([step["token"] for step in content], alternatives, answer)
    return told.as_fields() if told else {}


def is_out_of_credit(status: int, body: Any) -> bool:
    """Whether the account has no credit left, by the status and the error's code and type; its words are not read."""
    error = body.get("error") if isinstance(body, Mapping) else None
    named = [error.get(key) for key in ("code", "type")] if isinstance(error, Mapping) else []
    return status == 402 or any(word in OUT_OF_CREDIT for word in named if isinstance(word, str))


def error_message(body: Any) -> str:
    """The error message of a response: `error.message` and `error.code` of its JSON, or else its text."""
    if isinstance(body, dict):
        error = body.get("error", body)
        if isinstance(error, dict):
            message = str(error.get("message") or error.get("detail") or error)
            named = [error[key] for key in ("code", "param") if isinstance(error.get(key), str) and error[key]]
            return f"{message} ({', '.join(named)})" if named else message
        return str(error)
    return " ".join(str(body).split())[:500]


def is_too_long(message: str) -> bool:
    """Whether an error message is about the model's context length."""
    return "context length" in message or "context_length" in message


def fold_system(messages: Sequence[Message]) -> list[Message]:
    """The messages with the system message merged into the first turn, for models without a system role."""
    if not messages or messages[0]["role"] != "system":
        return list(messages)
    system, first, *rest = messages
    return [{"role": first["role"], "content": f"{system['content']}\n\n{first['content']}"}, *rest]
