"""Formats answers as lines of a batch output file, in the form that `vllm run-batch` writes.

A line that was answered has `response` with status 200 and a chat.completion object; one that was not has a
response without a body, and `error`. Ids are hashes of the file's digest and the line, so that writing a file
again gives the same file.
"""

import json
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from xpoll.core.error_kinds import OF_THE_REQUEST
from xpoll.core.records import Completion
from xpoll.engine.batch.requests import Request


class Responses:
    """Formats output lines.

    Args:
        model: Name of the model in the responses.
        digest: Digest of the batch file.
    """

    def __init__(self, model: str, digest: str) -> None:
        self._model, self._digest = model, digest

    def line(self, request: Request, answers: Sequence[Completion]) -> tuple[str, bool]:
        """The output line of a request as JSON, and whether it was answered.

        Args:
            request: The request.
            answers: One answer per prompt of it; empty if it was not asked.
        """
        failed = [answer for answer in answers if answer.error_kind is not None]
        if not answers:
            made = self._failed(request, request.problem or "was not asked", of_the_request=True)
        elif failed:
            message = failed[0].error or failed[0].error_kind or ""
            if len(answers) > 1:
                message = f"{len(failed)} of {len(answers)} choices failed, the first one: {message}"
            kinds = {answer.error_kind for answer in failed}
            made = self._failed(request, message, of_the_request=kinds <= OF_THE_REQUEST)
        else:
            made = self._line(request, 200, self._chat_completion(request, answers), None)
        return json.dumps(made, ensure_ascii=False), bool(answers) and not failed

    def _line(self, request: Request, status: int, body: Any, error: Any) -> dict[str, Any]:
        response = {"status_code": status, "request_id": self._id("req", request), "body": body}
        identity = self._id("batch_req", request)
        return {"id": identity, "custom_id": request.custom_id, "response": response, "error": error}

    def _failed(self, request: Request, message: str, *, of_the_request: bool) -> dict[str, Any]:
        status, kind = (400, "BadRequestError") if of_the_request else (500, "InternalServerError")
        error = {"message": message, "type": kind, "param": None, "code": status}
        return self._line(request, status, None, {"error": error})

    def _chat_completion(self, request: Request, answers: Sequence[Completion]) -> dict[str, Any]:
        prompt_tokens = answers[0].prompt_tokens  # the choices of a request share its prompt
        completion_tokens = sum(answer.output_tokens for answer in answers)
        return {
            "id": self._id("chatcmpl", request),
            "object": "chat.completion",
            "created": int(answers[0].started_unix_s),
            "model": self._model,
            "choices": [
                {
                    "index": answer.sample,
                    "message": {"role": "assistant", "content": answer.text, "refusal": None},
                    "logprobs": None,
                    "finish_reason": answer.finish_reason,
                }
                for answer in answers
            ],
            "usage": {
                "prompt_tokens": prompt_tokens,
                "completion_tokens": completion_tokens,
                "total_tokens": prompt_tokens + completion_tokens,
                "prompt_tokens_details": {"cached_tokens": answers[0].cached_prompt_tokens},
            },
        }

    def _id(self, kind: str, request: Request) -> str:
        identity = f"{self._digest}\x1f{kind}\x1f{request.number}"
        return f"{kind}_{blake2b(identity.encode(), digest_size=16).hexdigest()}".replace("chatcmpl_", "chatcmpl-")
