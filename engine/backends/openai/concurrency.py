"""How many requests to have at an endpoint that does not say how many it can take.

Additive increase, multiplicative decrease: requests that succeed raise the limit, at first by one
each and, once it was too high, by one for as many as the limit; a sign of overload lowers it by a
quarter, once for all requests that were under way together.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType

FIRST_LIMIT = 8
DECREASE = 0.75


class Limit:
    """The rule alone, without waiting.

    Args:
        most: It never allows more than this.
        clock: Seconds that only go up.
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
        return int(self._limit)

    @property
    def room(self) -> int:
        """How many requests may begin now."""
        return 0 if self._clock() < self._closed_until_s else max(0, self.limit - self.in_flight)

    def succeeded(self) -> None:
        """Counts a success; the limit rises only while it is what holds requests back."""
        if self.in_flight < self.limit:
            return
        self._successes += 1
        if self._lowered_s is None or self._successes >= self.limit:
            self._limit = min(self._most, self._limit + 1)
            self._successes = 0

    def overloaded(self, began_s: float) -> None:
        """Lowers the limit, unless that was done after this request began (on the rule's clock)."""
        if self._lowered_s is None or began_s >= self._lowered_s:
            self._limit = max(1.0, self._limit * DECREASE)
            self._lowered_s, self._successes = self._clock(), 0

    def close_for(self, seconds: float) -> None:
        """No request begins for this long: the endpoint has asked for it."""
        self._closed_until_s = max(self._closed_until_s, self._clock() + seconds)


class Permits:
    """Lets a block run when the limit has room; whoever waits first runs first."""

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
                self.wake()  # the place that this one was given is for another
                raise
        self.limit.in_flight += 1

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.limit.in_flight -= 1
        self.wake()

    def close_for(self, seconds: float) -> None:
        """No block begins for this long."""
        self.limit.close_for(seconds)
        asyncio.get_running_loop().call_later(seconds + 0.001, self.wake)

    def wake(self) -> None:
        """Gives what room there is to those who wait."""
        room = self.limit.room
        while room > 0 and self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                room -= 1
