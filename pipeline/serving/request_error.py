"""What a client did wrong, or what this server cannot do now: one line, in the JSON form of OpenAI's errors."""

from http import HTTPStatus
from typing import Any

from pydantic import ValidationError

TYPES = {
    HTTPStatus.BAD_REQUEST: "BadRequestError",
    HTTPStatus.NOT_FOUND: "NotFoundError",
    HTTPStatus.SERVICE_UNAVAILABLE: "ServiceUnavailableError",
    HTTPStatus.INTERNAL_SERVER_ERROR: "InternalServerError",
}
"""`error.type` of a status, as vLLM names it; of any other one its phrase."""

TAGS = frozenset({"text", "messages", "parts", "function-after", "function-before"})
"""Parts of pydantic's places that name an alternative of ours and nothing in the request."""


class RequestError(Exception):
    """A request that is not answered.

    Args:
        message: What is wrong and what would be right; line breaks become spaces.
        status: Status of the response.
        param: The part of the request that is wrong, e.g. "questions.0.choices".
    """

    def __init__(self, message: str, *, status: HTTPStatus = HTTPStatus.BAD_REQUEST, param: str | None = None) -> None:
        self.message, self.status, self.param = " ".join(message.split()), status, param
        super().__init__(self.message)

    def as_json(self) -> dict[str, Any]:
        """The body of the response."""
        return error_body(self.message, self.status, self.param)


def error_body(message: str, status: int, param: str | None = None) -> dict[str, Any]:
    """The body of a response with an error, as OpenAI and vLLM have it."""
    kind = HTTPStatus(status)
    named = TYPES.get(kind, kind.phrase.replace(" ", ""))
    return {"error": {"message": message, "type": named, "param": param, "code": int(status)}}


def unavailable(message: str) -> RequestError:
    """An error that says that the same request may be answered later."""
    return RequestError(message, status=HTTPStatus.SERVICE_UNAVAILABLE)


def malformed(error: ValidationError) -> RequestError:
    """The first thing that is wrong with a request's body, and where."""
    first = error.errors(include_url=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return RequestError(f"the body is not JSON: {first['ctx']['error']}")
    kinds = {"predicate", "choice", "score", "input_text", "input_json"}
    place = [str(part) for part in first["loc"] if part not in TAGS | kinds]
    where = ".".join(place)
    if first["type"] == "missing":
        return RequestError(f"{where} is missing", param=where)
    if first["type"] == "extra_forbidden":
        return RequestError(f"unknown field {where}", param=where)
    if first["type"] == "union_tag_invalid":
        tag, known = first["ctx"]["tag"], first["ctx"]["expected_tags"]
        return RequestError(f"{where}: the type {tag!r} is none that this server takes: {known}", param=where)
    message = first["msg"].removeprefix("Value error, ")
    return RequestError(f"{where}: {message[0].lower()}{message[1:]}" if where else message, param=where or None)
