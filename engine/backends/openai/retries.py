"""What an HTTP endpoint's errors mean, and how requests are retried: by tenacity, honouring Retry-After."""

from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Literal, NamedTuple, cast

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    wait_exponential,
    wait_random_exponential,
)
from tenacity.wait import wait_base

Kind = Literal["rate_limited", "timeout", "server"]

_KINDS: dict[int, Kind] = {
    408: "timeout",
    504: "timeout",
    429: "rate_limited",
    503: "rate_limited",
    529: "rate_limited",
}
LONGEST_BACKOFF_S = 60.0


class HttpResponse(NamedTuple):
    """The response to one request; status 0 is a connection that failed, 408 also one that took too long.

    Attributes:
        status: Of HTTP.
        body: Parsed JSON, or the text where it is none.
        retry_after_s: What the endpoint asks to wait, in seconds.
    """

    status: int
    body: Any
    retry_after_s: float | None = None


def retry_kind(status: int) -> Kind | None:
    """Why the same request may succeed later; None where it would fail again."""
    return _KINDS.get(status, "server" if status == 0 or status >= 500 else None)


def is_overload(status: int) -> bool:
    """True if the endpoint had too many requests at a time."""
    return _KINDS.get(status) is not None


def retry_after_s(header: str | None, now_unix_s: float) -> float | None:
    """Seconds that a Retry-After header asks to wait; None without a readable one.

    Args:
        header: A number of seconds or an HTTP date.
        now_unix_s: The time now.
    """
    if not header:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        at = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, at.replace(tzinfo=at.tzinfo or UTC).timestamp() - now_unix_s)


class TransientError(Exception):
    """A request failed, and the same one may succeed later.

    Attributes:
        kind: Why.
        status: Of the HTTP response; 0 for a connection that failed.
        message: What the endpoint said.
        retry_after_s: What its Retry-After asks for, in seconds; 0 without one.
    """

    def __init__(self, kind: Kind, status: int, message: str, retry_after_s: float | None) -> None:
        """Takes the attributes; None as `retry_after_s` where the endpoint asked for no wait."""
        super().__init__(f"HTTP {status}: {message}")
        self.kind, self.status, self.message = kind, status, message
        self.retry_after_s = retry_after_s or 0.0


def retrying(
    *, max_retries: int, first_wait_s: float, longest_wait_s: float, before_wait: Callable[[float], None]
) -> AsyncRetrying:
    """A tenacity controller that repeats a coroutine function while it raises TransientError; for one call.

    Args:
        max_retries: How often it is called again before the error is raised, as long as the endpoint is there.
        first_wait_s: Longest wait after the first failure, in seconds; see `backoff`.
        longest_wait_s: How long, in seconds, an endpoint that cannot be reached is waited for, and the longest
            Retry-After that is; a longer one raises the error at once.
        before_wait: Called with the Retry-After, in seconds, before each wait that an endpoint asked for.
    """
    spread = backoff(first_wait_s)

    def tell(state: RetryCallState) -> None:
        if asked_s := _asked_s(state):
            before_wait(asked_s)

    return AsyncRetrying(
        retry=retry_if_exception(
            lambda error: isinstance(error, TransientError) and error.retry_after_s <= longest_wait_s
        ),
        stop=lambda state: _is_enough(state, max_retries, longest_wait_s),
        wait=lambda state: max(_asked_s(state), spread(state)),
        before_sleep=tell,
        reraise=True,
    )


def backoff(first_wait_s: float) -> wait_base:
    """Exponential backoff with jitter: waits that double per failure up to 60 s, minus a random part of up to half.

    Without jitter all requests of a burst would come back together.

    Args:
        first_wait_s: The longest wait after the first failure, in seconds.
    """
    half, most = first_wait_s / 2, LONGEST_BACKOFF_S / 2
    return wait_exponential(multiplier=half, max=most) + wait_random_exponential(multiplier=half, max=most)


def _is_enough(state: RetryCallState, max_retries: int, longest_wait_s: float) -> bool:
    error = cast(TransientError, state.outcome.exception()) if state.outcome else None
    if error is not None and error.status == 0:
        return (state.seconds_since_start or 0.0) >= longest_wait_s
    return state.attempt_number > max_retries


def _asked_s(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    return cast(TransientError, error).retry_after_s
