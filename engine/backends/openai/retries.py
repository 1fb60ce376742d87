"""What a refusal of an HTTP endpoint means, and how long to wait before the request is sent again: pure."""

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
    """What came of one request; status 0 is a connection that failed, 408 also one that took too long."""

    status: int
    body: Any
    retry_after_s: float | None = None


def retry_kind(status: int) -> Kind | None:
    """Why the same request may succeed later; None where it will not."""
    return _KINDS.get(status, "server" if status == 0 or status >= 500 else None)


def is_overload(status: int) -> bool:
    """True if fewer requests at a time would have helped."""
    return _KINDS.get(status) is not None


def retry_after_s(header: str | None, now_unix_s: float) -> float | None:
    """Seconds that a Retry-After header asks for, as a number or as a date; None without a readable one."""
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
    """Seconds before the next try: doubles with each failure, of which a random half is taken off.

    Args:
        failures: How often the request has failed, from 1.
        first_s: The longest wait after the first failure.
        random: A number from 0 to 1; without it all requests of a burst would come back together.
    """
    longest = min(LONGEST_BACKOFF_S, first_s * 2.0 ** (failures - 1))
    return longest * (0.5 + 0.5 * random())
