"""Adaptive limit on concurrent requests to an endpoint that does not report its capacity.

Additive increase, multiplicative decrease: each success raises the limit by one until the first overload, and
after that each `limit` successes do; a sign of overload lowers it by a quarter, once for all requests that
were in flight together.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType

FIRST_LIMIT = 8
DECREASE = 0.75


class Limit:
    """The limit itself; `Permits` waits for it.

    Attributes:
        in_flight: Requests in flight.

    Args:
        most: Upper bound of the limit.
        clock: Monotonic clock, in seconds.
    """

    def __init__(self, most: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = most, clock
        self._limit = float(min(most, FIRST_LIMIT))
        self._lowered_s: float | None = None
        self._closed_until_s = clock()
        self._successes = 0
        self.in_flight = 0

    @property
    def limit(self) -> int:
        """Most requests in flight at the moment."""
        return int(self._limit)

    @property
    def room(self) -> int:
        """How many requests may start now."""
        return 0 if self._clock() < self._closed_until_s else max(0, self.limit - self.in_flight)

    def succeeded(self) -> None:
        """Counts a success; the limit rises only while requests wait for it."""
        if self.in_flight < self.limit:
            return
        self._successes += 1
        if self._lowered_s is None or self._successes >= self.limit:
            self._limit = min(self._most, self._limit + 1)
            self._successes = 0

    def overloaded(self, began_s: float) -> None:
        """Lowers the limit, unless it was already lowered after this request began.

        Args:
            began_s: When the request began, on the monotonic clock.
        """
        if self._lowered_s is None or began_s >= self._lowered_s:
            self._limit = max(1.0, self._limit * DECREASE)
            self._lowered_s, self._successes = self._clock(), 0

    def close_for(self, seconds: float) -> None:
        """Lets no request start for so many seconds, as the endpoint asked."""
        self._closed_until_s = max(self._closed_until_s, self._clock() + seconds)


class Permits:
    """An async context manager that waits for room under the limit, first come, first served.

    Attributes:
        limit: The limit.
    """

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def __aenter__(self) -> None:
        while self.limit.room == 0:
            place = asyncio.get_running_loop().create_future()
            self._waiting.append(place)
            try:
                await place
            except asyncio.CancelledError:
                self.wake()  # its permit goes to the next one
                raise
        self.limit.in_flight += 1

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.limit.in_flight -= 1
        self.wake()

    def close_for(self, seconds: float) -> None:
        """Lets no block start for so many seconds."""
        self.limit.close_for(seconds)
        asyncio.get_running_loop().call_later(seconds + 0.001, self.wake)

    def wake(self) -> None:
        """Wakes as many waiting blocks as there is room for."""
        room = self.limit.room
        while room > 0 and self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                room -= 1
