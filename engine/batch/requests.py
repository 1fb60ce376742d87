"""Parses the lines of a batch file into prompts.

A line is {"custom_id", "method": "POST", "url": "/v1/chat/completions", "body": {...}}, as the OpenAI
Batch API and `vllm run-batch` take it. A parameter that cannot be honoured makes an error row of its line and
is never ignored silently; null counts as absent, as it does there.
"""

import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from xpoll.core.records import AnswerSchema, Message, Prompt, Sampling
from xpoll.core.tables.readers import Row, stream_rows

CHAT_URL = "/v1/chat/completions"
MOST_CHOICES = 128  # OpenAI's own limit

Number = Annotated[float, Field(allow_inf_nan=False)]

NO_EFFECT = frozenset(
    ("user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "parallel_tool_calls")
)
"""Parameters without effect on an answer."""

ONLY_AS: dict[str, tuple[Any, ...]] = {
    "stream": (False,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "tool_choice": ("none", "auto"),
    "modalities": (["text"],),
    "use_beam_search": (False,),
    "echo": (False,),
    "add_generation_prompt": (True,),
    "continue_final_message": (False,),
    "add_special_tokens": (False,),
    "return_token_ids": (False,),
    "priority": (0,),
}
"""Parameters that have no effect with one of these values, and cannot be honoured with another."""

CONSTRAINTS = {"json", "choice", "regex", "grammar", "json_object"}
CONSTRAINT_OPTIONS = {"disable_any_whitespace", "disable_additional_properties", "whitespace_pattern"}


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore")
    type: str
    text: str | None = None


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid")
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[_Part]
    name: str | None = None


class _PassedOn(BaseModel):
    """Parameters that are passed to the engine under their own names, with the types that it takes."""

    model_config = ConfigDict(extra="forbid")
    presence_penalty: Number | None = None
    frequency_penalty: Number | None = None
    repetition_penalty: Number | None = None
    top_k: int | None = None
    min_p: Number | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63 - MOST_CHOICES)] | None = None
    stop: str | list[str] | None = None
    stop_token_ids: list[int] | None = None
    ignore_eos: bool | None = None
    min_tokens: int | None = None
    skip_special_tokens: bool | None = None
    spaces_between_special_tokens: bool | None = None
    include_stop_str_in_output: bool | None = None
    logit_bias: dict[int, Number] | None = None
    bad_words: list[str] | None = None
    allowed_token_ids: list[int] | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    @field_validator("chat_template_kwargs")
    @classmethod
    def _leaves_the_template_alone(cls, kwargs: dict[str, Any] | None) -> dict[str, Any] | None:
        for name in ("chat_template", "tokenize"):  # a line may fill in the model's template, not replace it
            if name in (kwargs or {}):
                raise ValueError(f"{name!r} is not supported")
        return kwargs


class _Body(_PassedOn):
    """All parameters that can be honoured."""

    messages: Annotated[list[_Message], Field(min_length=1)]
    model: str | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[Number, Field(ge=0)] = 1.0
    top_p: Annotated[Number, Field(gt=0, le=1)] = 1.0
    n: Annotated[int, Field(ge=1, le=MOST_CHOICES)] = 1
    response_format: dict[str, Any] | None = None
    structured_outputs: dict[str, Any] | None = None
    guided_json: str | dict[str, Any] | None = None
    guided_choice: list[str] | None = None
    guided_regex: str | None = None
    guided_grammar: str | None = None


class Request(NamedTuple):
    """One line of a batch file.

    Attributes:
        number: Its number, from 0; empty lines are not counted.
        custom_id: Its id; None without a usable one, and then it has no prompts.
        model: The model that it names; None without one, or if the line has a problem.
        prompts: One per choice; for a line with a problem a single one that carries it.
        problem: Why the line cannot be asked; None if it can.
        content: The line as compact JSON, for digests.
    """

    number: int
    custom_id: str | None
    model: str | None
    prompts: tuple[Prompt, ...]
    problem: str | None
    content: bytes


class _ProblemError(Exception):
    """A line cannot be asked; the message has the reason."""


def read_requests(path: str) -> Iterator[Request]:
    """The lines of a batch file in order; always read as JSONL, whatever its name.

    Raises:
        InputError: the file is missing, empty or truncated.
    """
    return map(request_of, stream_rows(path, key="input", kind="jsonl"))


def request_of(row: Row) -> Request:
    """The request of one line; a malformed line gives a problem and never an exception."""
    content, unreadable = _content(row)
    custom_id = row.values.get("custom_id")
    if not isinstance(custom_id, str) or not custom_id or not _is_text(custom_id, row):
        why = unreadable or ("custom_id is missing" if custom_id in (None, "") else "custom_id is no readable text")
        return Request(row.number, None, None, (), f"line {row.number + 1}: {why}", content)
    try:
        if unreadable is not None:
            raise _ProblemError(unreadable)
        body = _body(row.values)
        answer, more = _answer_and_more(body)
    except _ProblemError as error:
        unasked = Prompt(custom_id, "", 0, (), Sampling(1.0, 1.0, None), AnswerSchema(), str(error))
        return Request(row.number, custom_id, None, (unasked,), str(error), content)
    messages = tuple(map(_message, body.messages))
    max_tokens = body.max_completion_tokens or body.max_tokens
    prompts = []
    for sample in range(body.n):
        own = more if body.seed is None else {**more, "seed": body.seed + sample}  # one seed would repeat one answer
        text = json.dumps(own, sort_keys=True) if own else None
        sampling = Sampling(body.temperature, body.top_p, max_tokens, text)
        prompts.append(Prompt(custom_id, "", sample, messages, sampling, answer))
    return Request(row.number, custom_id, body.model, tuple(prompts), None, content)


def _content(row: Row) -> tuple[bytes, str | None]:
    if row.problem is not None and not row.values:
        return row.problem.encode("utf-8", "replace"), row.problem
    try:
        text = json.dumps(row.values, ensure_ascii=False, separators=(",", ":"))
    except RecursionError:
        return b"too deep", "the line is nested too deep"
    try:
        return text.encode(), row.problem
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass"), "the line holds text that is not UTF-8"


def _is_text(custom_id: str, row: Row) -> bool:
    """Whether an id is valid UTF-8: invalid bytes are replaced when a line is read."""
    return row.problem is None or "\N{REPLACEMENT CHARACTER}" not in custom_id


def _body(line: dict[str, Any]) -> _Body:
    if line.get("url") != CHAT_URL:
        raise _ProblemError(f"url {line.get('url')!r} is not supported; {CHAT_URL} is")
    if line.get("method") != "POST":
        raise _ProblemError(f"method is to be 'POST', got {line.get('method')!r}")
    raw = line.get("body")
    if not isinstance(raw, dict):
        raise _ProblemError("body is no JSON object")
    given = {key: value for key, value in raw.items() if value is not None and key not in NO_EFFECT}
    for key, allowed in ONLY_AS.items():
        if key in given and given.pop(key) not in allowed:
            raise _ProblemError(f"body.{key} = {_short(raw[key])} is not supported")
    messages = given.get("messages")
    if isinstance(messages, list):
        given["messages"] = [_without_nulls(message) for message in messages]
    try:
        return _Body.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(map(str, ("body", *first["loc"])))
        if first["type"] == "extra_forbidden":
            raise _ProblemError(f"{place} is not supported") from error
        if first["type"] == "missing":
            raise _ProblemError(f"{place} is missing") from error
        raise _ProblemError(f"{place}: {first['msg']}, got {_short(first['input'])}") from error


def _without_nulls(message: Any) -> Any:
    return {k: v for k, v in message.items() if v is not None} if isinstance(message, dict) else message


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _message(message: _Message) -> Message:
    role = "system" if message.role == "developer" else message.role
    made: Message = {"role": role, "content": _joined(message.content)}
    return made | {"name": message.name} if message.name is not None else made


def _joined(content: str | list[_Part]) -> str:
    return content if isinstance(content, str) else "\n".join(part.text or "" for part in content)


def _answer_and_more(body: _Body) -> tuple[AnswerSchema, dict[str, Any]]:
    """The constraint on the answer, and the parameters that are passed to the engine as they are."""
    for i, message in enumerate(body.messages):
        for part in message.content if isinstance(message.content, list) else []:
            if part.type != "text" or part.text is None:
                raise _ProblemError(f"body.messages.{i} has a part of type {_short(part.type)}; only text can be asked")
    more = {name: value for name in _PassedOn.model_fields if (value := getattr(body, name)) is not None}
    constraints = [constraint for constraint in _constraints(body) if constraint is not None]
    if len(constraints) > 1:
        raise _ProblemError("body constrains the answer in more than one way")
    if not constraints:
        return AnswerSchema(), more
    constraint = constraints[0]
    if constraint.keys() == {"json"}:
        return AnswerSchema(json_schema=_schema_text(constraint["json"]), must_hold=True), more
    if constraint.keys() == {"choice"}:
        return AnswerSchema(choices=_choices(constraint["choice"]), must_hold=True), more
    return AnswerSchema(must_hold=True), {**more, "structured_outputs": constraint}


def _constraints(body: _Body) -> Iterator[dict[str, Any] | None]:
    """All constraints of the body, each in the form of vLLM's structured outputs."""
    yield _response_format(body.response_format)
    for kind in ("json", "choice", "regex", "grammar"):
        value = getattr(body, f"guided_{kind}")
        yield None if value is None else {kind: value}
    if body.structured_outputs is not None:
        given = {key: value for key, value in body.structured_outputs.items() if value is not None}
        kinds = sorted(given.keys() & CONSTRAINTS)
        unknown = sorted(given.keys() - CONSTRAINTS - CONSTRAINT_OPTIONS)
        if unknown:
            raise _ProblemError(f"body.structured_outputs.{unknown[0]} is not supported")
        if len(kinds) != 1:
            raise _ProblemError(f"body.structured_outputs names {len(kinds)} of {', '.join(sorted(CONSTRAINTS))}")
        if given.get("json_object") is False:
            raise _ProblemError("body.structured_outputs.json_object = False is not supported")
        yield given


def _response_format(given: dict[str, Any] | None) -> dict[str, Any] | None:
    match given:
        case None | {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return {"json": {"type": "object"}}
        case {"type": "json_schema", "json_schema": {"schema": dict() as schema}}:
            return {"json": schema}
        case {"type": "json_schema"}:
            raise _ProblemError("body.response_format.json_schema.schema is no JSON object")
        case _:
            raise _ProblemError(f"body.response_format of type {_short(given.get('type'))} is not supported")


def _schema_text(schema: Any) -> str:
    try:
        parsed = json.loads(schema) if isinstance(schema, str) else schema
    except (ValueError, RecursionError) as error:
        raise _ProblemError(f"the JSON schema of the answer is no JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise _ProblemError(f"the JSON schema of the answer is no JSON object, got {_short(parsed)}")
    return json.dumps(parsed)


def _choices(choices: Any) -> tuple[str, ...]:
    if not isinstance(choices, list) or not choices or not all(isinstance(c, str) and c for c in choices):
        raise _ProblemError(f"the choices of the answer are to be a list of texts, got {_short(choices)}")
    return tuple(choices)
