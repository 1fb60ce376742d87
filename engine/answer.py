"""The door between a backend and everything that counts and writes: what it says is made to fit COMPLETION_SCHEMA.

A backend passes on what an engine, an endpoint or a file says, and a `module:Class` is the user's own: neither is
trusted. What does not fit is that row's error, never the worker's.
"""

from numbers import Integral, Real
from typing import Any

from xpoll.core.errors import UserError
from xpoll.core.records import Completion, Prompt
from xpoll.core.secrets import struck, without_secrets
from xpoll.engine.backends.backend import Backend, EngineDeadError

MOST_TOKENS = 2**31 - 1
"""The largest count that the schema holds; a larger one is written as this."""
_COUNTS = ("prompt_tokens", "cached_prompt_tokens", "output_tokens")
FAILED: dict[str, tuple[str, str]] = {
    "error": ("engine", "the engine ended the request with an error"),
    "abort": ("engine", "the engine aborted the request"),
    "content_filter": ("content_filter", "a content filter withheld the answer"),
}
"""Finish reason of a request that has no answer, to its kind of error row and the reason."""
LONGEST_S = 1e300
"""Bound of a time; NaN is not less."""
LEAST_LOGPROB = -700.0
"""Of the likeliest choice: its exponential must not be 0."""


class _MisfitError(Exception):
    """An answer does not fit; the message says what of it."""


async def answer_of(backend: Backend, prompt: Prompt) -> Completion:
    """The completion of one prompt, which fits COMPLETION_SCHEMA and holds no secret; with the prompt's own key.

    Raises:
        EngineDeadError: the engine is gone, and with it every prompt in flight.
        UserError: neither this prompt nor the engine is at fault, and every other prompt would end alike.
    """
    if prompt.problem is not None:
        return problem_row(prompt)
    try:
        answer = await backend.answer(prompt)
    except (EngineDeadError, UserError):
        raise
    except Exception as error:  # a bug that one prompt triggers is the error of that row alone
        said = readable(struck(f"{type(error).__name__}: {error}"))
        return Completion(*prompt.key, error_kind="backend", error=said)
    return fitted(answer, prompt)


def problem_row(prompt: Prompt) -> Completion:
    """The error row of a prompt that cannot be asked."""
    return Completion(*prompt.key, error_kind="document", error=prompt.problem)


def fitted(answer: object, prompt: Prompt) -> Completion:
    """An answer as it can be counted and written; an error row of kind "malformed" where it does not fit.

    Args:
        answer: What a backend returned.
        prompt: What it was asked.
    """
    if type(answer) is Completion and _fits(answer, prompt):
        return answer
    try:
        if not isinstance(answer, Completion):
            raise _MisfitError(f"the answer is {_named(answer)}, not a Completion")
        return _fitted(answer, prompt)
    except _MisfitError as error:
        kept = answer if isinstance(answer, Completion) else None
        worker, device = (kept.worker, kept.device) if kept else ("", "")
        return Completion(
            *prompt.key,
            worker=worker if isinstance(worker, str) else "",
            device=device if isinstance(device, str) else "",
            error_kind="malformed",
            error=readable(struck(str(error))),
        )


_PLAIN = (str, str, int)
_TYPES = frozenset(
    (*_PLAIN, str, finish, int, int, int, logprobs, str, str, float, float, type(None), type(None), unread)
    for finish in (str, type(None))
    for logprobs in (tuple, type(None))
    for unread in (int, type(None))
)
"""Types of the fields of an answer that is no error."""


def _fits(answer: Completion, prompt: Prompt) -> bool:
    """Whether an answer is no error and fits as it is; the usual case, and told at a third of the cost."""
    if tuple(map(type, answer)) not in _TYPES or answer[:3] != prompt[:3] or answer.finish_reason in FAILED:
        return False
    _, _, _, text, finish, tokens, cached, output, logprobs, _, _, started_s, latency_s, _, _, unread = answer
    assert text is not None
    if not (text.isascii() and (finish is None or finish.isascii()) and without_secrets(text) is text):
        return False
    if not (0 <= tokens <= MOST_TOKENS and 0 <= cached <= MOST_TOKENS and 0 <= output <= MOST_TOKENS):
        return False
    if not (abs(started_s) < LONGEST_S and abs(latency_s) < LONGEST_S and 0 <= (unread or 0) <= MOST_TOKENS):
        return False
    return logprobs is None or _logprobs_fit(logprobs, len(prompt.answer.choices))


def _logprobs_fit(values: tuple[float, ...], choices: int) -> bool:
    try:
        total = sum(values)  # NaN if one of them is
        return len(values) == choices and total == total and LEAST_LOGPROB <= max(values) <= 1.0
    except (TypeError, ValueError):
        return False


def _fitted(answer: Completion, prompt: Prompt) -> Completion:
    for name in ("text", "finish_reason", "error_kind", "error"):
        value = getattr(answer, name)
        if value is not None and type(value) is not str:
            raise _MisfitError(f"{name} is {_named(value)}, not a text")
    for name in ("worker", "device"):
        if type(getattr(answer, name)) is not str:
            raise _MisfitError(f"{name} is {_named(getattr(answer, name))}, not a text")
    counts = {name: _count(name, getattr(answer, name)) for name in _COUNTS}
    unread = answer.unread_choices
    changed: dict[str, Any] = {name: count for name, count in counts.items() if count is not getattr(answer, name)}
    if unread is not None and _count("unread_choices", unread) is not unread:
        changed["unread_choices"] = _count("unread_choices", unread)
    for name in ("started_unix_s", "latency_s"):
        if not _is_number(getattr(answer, name)):
            raise _MisfitError(f"{name} is {_named(getattr(answer, name))}, not a number")
    if answer.key != prompt.key:
        changed |= prompt.key._asdict()
    if answer.choice_logprobs is not None:
        logprobs = _logprobs(answer.choice_logprobs, len(prompt.answer.choices))
        changed |= {"choice_logprobs": logprobs} if logprobs is not answer.choice_logprobs else {}
    kind, error = answer.error_kind, answer.error
    if kind is None:
        kind, reason = FAILED.get(answer.finish_reason or "", (None, ""))
        if kind is None and answer.text is None:
            kind, reason = "no_text", "there is neither an answer nor an error"
        error = error or reason
    if kind is None:
        assert answer.text is not None
        text = readable(without_secrets(answer.text))
        finish = answer.finish_reason and readable(answer.finish_reason)
        changed |= {"text": text} if text is not answer.text else {}
        changed |= {"finish_reason": finish} if finish is not answer.finish_reason else {}
    else:
        changed |= {"text": None, "choice_logprobs": None, "error_kind": readable(kind)}
        changed["error"] = readable(struck(error or "the engine gave no reason"))
        changed["finish_reason"] = answer.finish_reason and readable(answer.finish_reason)
    return answer._replace(**changed) if changed else answer


def readable(text: str) -> str:
    """The text; halves of surrogate pairs, which no file can hold, become U+FFFD."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        # Two halves that belong together are one character.
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _count(name: str, value: object) -> int:
    if type(value) is not int:
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise _MisfitError(f"{name} is {_named(value)}, not a whole number")
        value = int(value)
    return value if 0 <= value <= MOST_TOKENS else min(max(value, 0), MOST_TOKENS)


def _is_number(value: object) -> bool:
    fits = type(value) is float or (isinstance(value, Real) and not isinstance(value, bool))
    return fits and abs(value) < LONGEST_S  # type: ignore[arg-type,operator]


def _logprobs(values: object, choices: int) -> tuple[float, ...]:
    if not isinstance(values, tuple | list) or not all(isinstance(each, Real) for each in values):
        raise _MisfitError(f"choice_logprobs is {_named(values)}, not a list of numbers")
    if choices and len(values) != choices:
        raise _MisfitError(f"choice_logprobs has {len(values)} numbers for {choices} choices")
    if not values or not all(each <= 1.0 for each in values) or max(values) < LEAST_LOGPROB:  # NaN is not <= 1
        raise _MisfitError("choice_logprobs are no logarithms of probabilities")
    return values if isinstance(values, tuple) else tuple(values)


def _named(value: object) -> str:
    shown = repr(value)
    return f"{type(value).__name__} {shown if len(shown) <= 80 else f'{shown[:77]}...'}"
