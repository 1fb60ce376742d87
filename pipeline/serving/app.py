"""The routes of a server: decisions and classification of one labeller, and what is said of the server itself.

    POST /v1/decisions     OpenAI's and vLLM 0.33's         POST /v1/systemone   vLLM 0.32's
    POST /classify         vLLM's, also as /v1/classify     GET  /v1/models      the models, with their labels
    GET  /health           200 where texts are labelled     GET  /metrics        Prometheus
    GET  /version          of xpoll

What is asked of another model goes to the engine, where there is one behind the server, and so does any other path.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from xpoll.core.machine.environment import package_version
from xpoll.pipeline.serving.classification import ClassifyRequest, classify_response
from xpoll.pipeline.serving.decisions import DecisionRequest, decision_response
from xpoll.pipeline.serving.engine_proxy import EngineProxy
from xpoll.pipeline.serving.metrics import ServingMetrics
from xpoll.pipeline.serving.request_error import RequestError, error_body, malformed, unavailable
from xpoll.pipeline.serving.systemone import SystemOneRequest, systemone_response
from xpoll.pipeline.serving.text_label import TextLabel, TextLabeller

LARGEST_BODY_BYTES = 16 * 2**20
RETRY_AFTER_S = 5
BodyT = TypeVar("BodyT", bound=BaseModel)
Handler = Callable[[Request], Awaitable[Response]]


@dataclass(slots=True)
class Served:
    """What a server serves.

    Attributes:
        name: Name of the model in requests.
        question: What the panel is, or the student was, asked about each text; None where that is not known.
        labeller: What labels texts; None where the engine alone is served.
        metrics: What is counted.
        engine: The engine behind it, if there is one.
        more: Said of the model on /v1/models.
    """

    name: str
    question: str | None
    labeller: TextLabeller | None
    metrics: ServingMetrics
    engine: EngineProxy | None = None
    more: dict[str, Any] = field(default_factory=dict)
    created: int = field(default_factory=lambda: int(time.time()))


def make_app(served: Served) -> Starlette:
    """The application of a server."""
    routes = _Routes(served)
    posts: dict[str, Handler] = {
        "/v1/decisions": routes.decisions,
        "/v1/systemone": routes.systemone,
        "/classify": routes.classify,
        "/v1/classify": routes.classify,
    }
    gets: dict[str, Handler] = {
        "/health": routes.health,
        "/metrics": routes.page_of_metrics,
        "/version": routes.version,
        "/v1/models": routes.models,
    }
    if served.labeller is None:
        posts, gets = {}, {name: gets[name] for name in ("/health", "/metrics", "/v1/models")}
    rest: list[Route] = []
    if served.engine is not None:
        every = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]
        rest = [Route("/{path:path}", routes.counted("engine", routes.to_engine), methods=every)]
    return Starlette(
        routes=[
            *(Route(path, routes.counted(path, handler), methods=["POST"]) for path, handler in posts.items()),
            *(Route(path, routes.counted(path, handler), methods=["GET"]) for path, handler in gets.items()),
            *rest,
        ],
        exception_handlers={HTTPException: _http_error, Exception: _bug},
    )


class _Routes:
    """The handlers of a server."""

    def __init__(self, served: Served) -> None:
        self._served = served

    def counted(self, path: str, handler: Handler) -> Handler:
        """The handler with its errors as responses, and its responses counted."""

        async def call(request: Request) -> Response:
            try:
                response = await _until_drained(handler(request))
            except RequestError as error:
                wait = error.status == HTTPStatus.SERVICE_UNAVAILABLE
                headers = {"Retry-After": str(RETRY_AFTER_S)} if wait else {}
                response = JSONResponse(error.as_json(), error.status, headers)
            self._served.metrics.responded(path, request.method, response.status_code)
            return response

        return call

    async def decisions(self, request: Request) -> Response:
        """Answers of the labeller about one input."""
        raw = await _body(request)
        if (other := await self._of_other_model(request, raw)) is not None:
            return other
        body = _parsed(DecisionRequest, request, raw)
        labeller, model = self._labeller(body.model), self._served.name
        questions = body.questions_about(labeller.labels)
        [said] = await self._one_label(body.text, "input")
        answered = decision_response(model, questions, said, labeller.labels)
        return JSONResponse(answered | self._about([said]))

    async def systemone(self, request: Request) -> Response:
        """The same under the older schema."""
        raw = await _body(request)
        if (other := await self._of_other_model(request, raw)) is not None:
            return other
        body = _parsed(SystemOneRequest, request, raw)
        labeller, model = self._labeller(body.model), self._served.name
        questions = body.questions_about(labeller.labels)
        [said] = await self._one_label(body.text, "state")
        answered = systemone_response(model, body, questions, said, labeller.labels)
        return JSONResponse(answered | self._about([said]))

    async def _one_label(self, text: str, param: str) -> list[TextLabel]:
        """What is said of a text, by what gives it one label.

        Raises:
            RequestError: what is served gives a text several labels.
        """
        said = await self._labelled([text], param)
        if said[0].labels is not None:
            raise RequestError("this model gives a text several labels, which is no decision: ask /classify")
        return said

    async def classify(self, request: Request) -> Response:
        """A label for each of several texts."""
        raw = await _body(request)
        if (other := await self._of_other_model(request, raw)) is not None:
            return other
        body = _parsed(ClassifyRequest, request, raw)
        labeller = self._labeller(body.model)
        said = await self._labelled(body.texts, "input")
        answered = classify_response(self._served.name, body, said, labeller.labels)
        return JSONResponse(answered | self._about(said))

    async def health(self, _request: Request) -> Response:
        """200 where a text that comes now is labelled without waiting for a start."""
        served = self._served
        if served.labeller is not None and not served.labeller.is_ready:
            raise unavailable("the student's process is being started")
        if served.engine is not None and not await served.engine.is_healthy():
            raise unavailable("no engine is ready")
        return Response()

    async def page_of_metrics(self, _request: Request) -> Response:
        """Prometheus text, the engine's included."""
        engine = self._served.engine
        page, content_type = self._served.metrics.page(await engine.page("/metrics") if engine else "")
        return Response(page, headers={"Content-Type": content_type})

    async def version(self, _request: Request) -> Response:
        """Of xpoll."""
        return JSONResponse({"version": package_version("xpoll") or "unknown"})

    async def models(self, _request: Request) -> Response:
        """OpenAI's list of models; `labels` and `question` are what a request's options are labels of."""
        served, cards = self._served, []
        if served.labeller is not None:
            about = {"labels": list(served.labeller.labels), "question": served.question, **served.more}
            cards.append(
                {"id": served.name, "object": "model", "created": served.created, "owned_by": "xpoll", **about}
            )
        if served.engine is not None:
            found = json.loads(await served.engine.page("/v1/models") or '{"data": []}')
            cards += found["data"]
        return JSONResponse({"object": "list", "data": cards})

    async def to_engine(self, request: Request) -> Response:
        """The engine's own response."""
        assert self._served.engine is not None
        return await self._served.engine.passed_on(request, await _body(request))

    async def _of_other_model(self, request: Request, raw: bytes) -> Response | None:
        """The engine's response to what is asked of another model than this server's; None without an engine."""
        if self._served.engine is None:
            return None
        try:
            model = json.loads(raw).get("model")
        except (ValueError, AttributeError, RecursionError):
            return None
        if not isinstance(model, str) or model == self._served.name:
            return None
        return await self._served.engine.passed_on(request, raw)

    def _labeller(self, model: str | None) -> TextLabeller:
        if model not in (None, self._served.name):
            message = f"the model {model!r} does not exist; this server has {self._served.name!r}"
            raise RequestError(message, status=HTTPStatus.NOT_FOUND, param="model")
        assert self._served.labeller is not None
        return self._served.labeller

    async def _labelled(self, texts: list[str], param: str) -> list[TextLabel]:
        if (empty := next((i for i, text in enumerate(texts) if not text.strip()), None)) is not None:
            where = param if len(texts) == 1 else f"{param}.{empty}"
            raise RequestError(f"{where}: the text is empty", param=where)
        assert self._served.labeller is not None
        said = await self._served.labeller.label_texts(texts)
        for each in said:
            self._served.metrics.labelled(each.answered_by, each.label)
        return said

    def _about(self, said: list[TextLabel]) -> dict[str, Any]:
        """What xpoll adds to a response, under a name that is in none of the schemas."""
        by = [each.answered_by for each in said]
        about: dict[str, Any] = {"answered_by": by[0] if len(by) == 1 else by, "question": self._served.question}
        if "panel" in by:
            assert self._served.labeller is not None
            about["counting"] = self._served.labeller.counting
            votes, abstained = [each.votes for each in said], [each.abstained for each in said]
            about |= {
                "votes": votes[0] if len(said) == 1 else votes,
                "abstained": abstained[0] if len(said) == 1 else abstained,
            }
        return {"xpoll": about}


async def _until_drained(response: Awaitable[Response]) -> Response:
    """The response; a request that is cancelled because the server has waited long enough for it is told so.

    Raises:
        RequestError: it is.
    """
    try:
        return await response
    except asyncio.CancelledError:
        raise unavailable("the server is stopping") from None


async def _body(request: Request) -> bytes:
    """The body, no longer than it may be.

    Raises:
        RequestError: it is longer.
    """
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > LARGEST_BODY_BYTES:
            raise RequestError(
                f"the body is longer than {LARGEST_BODY_BYTES} bytes", status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE
            )
    return bytes(body)


def _parsed(body: type[BodyT], request: Request, raw: bytes) -> BodyT:
    """The body as its schema has it.

    Raises:
        RequestError: it is no JSON, or not of the schema.
    """
    # A page in a browser can send any other type to a loopback address without asking.
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise RequestError(
            "the body must be sent as Content-Type: application/json", status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE
        )
    try:
        return body.model_validate_json(raw)
    except ValidationError as error:
        raise malformed(error) from None


async def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse(error_body(str(error.detail), error.status_code), error.status_code, error.headers)


async def _bug(_request: Request, error: Exception) -> Response:
    body = error_body(f"the server failed: {type(error).__name__}", HTTPStatus.INTERNAL_SERVER_ERROR)
    return JSONResponse(body, HTTPStatus.INTERNAL_SERVER_ERROR)
