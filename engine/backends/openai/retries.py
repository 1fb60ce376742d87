"""Classifies failed HTTP requests and computes back-off times: pure functions."""

from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Literal, NamedTuple

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
    """The outcome of one request.

    Attributes:
        status: HTTP status; 0 for a failed connection, 408 also for a timeout.
        body: Parsed JSON, or text.
        retry_after_s: The Retry-After header in seconds; None without one.
    """

    status: int
    body: Any
    retry_after_s: float | None = None


def retry_kind(status: int) -> Kind | None:
    """The kind of a failure that may go away; None where a retry would fail again."""
    return _KINDS.get(status, "server" if status == 0 or status >= 500 else None)


def is_overload(status: int) -> bool:
    """Whether the status is a sign of too many concurrent requests."""
    return _KINDS.get(status) is not None


def retry_after_s(header: str | None, now_unix_s: float) -> float | None:
    """Seconds of a Retry-After header, which is a number or a date; None if it is absent or unreadable.

    Args:
        header: The header.
        now_unix_s: The current time, as Unix time in seconds.
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


def backoff_s(failures: int, first_s: float, random: Callable[[], float]) -> float:
    """Seconds before the next attempt: doubles with each failure up to LONGEST_BACKOFF_S, with up to 50 % jitter.

    Args:
        failures: How often the request has failed, from 1.
        first_s: The longest wait after the first failure, in seconds.
        random: Returns a number from 0 to 1, so that the requests of a burst do not all return together.
    """
    longest = min(LONGEST_BACKOFF_S, first_s * 2.0 ** (failures - 1))
    return longest * (0.5 + 0.5 * random())
