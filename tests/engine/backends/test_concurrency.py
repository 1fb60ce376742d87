"""The limit rises while all goes well, falls once for a burst of refusals, and waits where it was asked to."""

import asyncio

import pytest
from tenacity import AsyncRetrying, RetryCallState

from xpoll.engine.backends.openai.concurrency import FIRST_LIMIT, Limit, Permits
from xpoll.engine.backends.openai.retries import (
    TransientError,
    backoff,
    is_overload,
    retry_after_s,
    retry_kind,
    retrying,
)


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def one_round(limit: Limit) -> None:
    """As many requests at once as are allowed, all of which succeed."""
    limit.in_flight = limit.limit
    for _ in range(limit.in_flight):
        limit.in_flight = max(limit.in_flight, limit.limit)
        limit.succeeded()
    limit.in_flight = 0


def test_it_doubles_a_round_until_it_was_too_high_then_rises_by_one() -> None:
    clock = Clock()
    limit = Limit(1000, clock=clock)
    assert limit.limit == FIRST_LIMIT
    one_round(limit)
    assert limit.limit == 2 * FIRST_LIMIT
    limit.overloaded(clock.now_s)
    assert limit.limit == 12
    one_round(limit)
    assert limit.limit == 13


def test_a_burst_of_refusals_lowers_it_once() -> None:
    clock = Clock()
    limit = Limit(100, clock=clock)
    began_s = clock.now_s
    clock.now_s += 1
    for _ in range(8):
        limit.overloaded(began_s)
    assert limit.limit == 6
    clock.now_s += 1
    limit.overloaded(clock.now_s)
    assert limit.limit == 4


def test_it_stays_between_one_and_the_most_allowed() -> None:
    clock = Clock()
    limit = Limit(10, clock=clock)
    for _ in range(5):
        one_round(limit)
    assert limit.limit == 10
    for _ in range(20):
        clock.now_s += 1
        limit.overloaded(clock.now_s)
    assert limit.limit == 1
    assert Limit(2).limit == 2


def test_it_does_not_rise_while_it_holds_nothing_back() -> None:
    limit = Limit(100)
    limit.in_flight = 1
    for _ in range(50):
        limit.succeeded()
    assert limit.limit == FIRST_LIMIT


def test_nothing_begins_while_the_endpoint_asks_for_a_pause() -> None:
    clock = Clock()
    limit = Limit(100, clock=clock)
    limit.close_for(30)
    limit.close_for(5)  # a shorter one does not shorten it
    clock.now_s += 29.9
    assert limit.room == 0
    clock.now_s += 0.2
    assert limit.room == FIRST_LIMIT


def test_slots_run_as_many_blocks_as_there_is_room_and_cancelled_ones_lose_none() -> None:
    most = 0

    async def block(slots: Permits) -> None:
        nonlocal most
        async with slots:
            most = max(most, slots.limit.in_flight)
            await asyncio.sleep(0.001)

    async def run() -> None:
        slots = Permits(Limit(3))
        tasks = [asyncio.create_task(block(slots)) for _ in range(40)]
        await asyncio.sleep(0)
        for task in tasks[1::3]:
            task.cancel()
        await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
        assert slots.limit.in_flight == 0

    asyncio.run(run())
    assert most == 3


def test_a_pause_ends_by_itself() -> None:
    async def run() -> None:
        slots = Permits(Limit(3))
        slots.close_for(0.05)

        async def block() -> None:
            async with slots:
                pass

        await asyncio.wait_for(block(), 10)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("7", 7.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("Thu, 01 Jan 1970 00:02:00 GMT", 20.0),
        ("Thu, 01 Jan 1970 00:00:10 GMT", 0.0),
    ],
)
def test_retry_after_is_a_number_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after_s(header, now_unix_s=100.0) == seconds


def after(failures: int, error: Exception | None = None) -> RetryCallState:
    state = RetryCallState(AsyncRetrying(), None, (), {})
    state.attempt_number = failures
    if error is not None:
        state.set_exception((type(error), error, None))
    return state


@pytest.mark.parametrize("first_wait_s", [0.01, 1.0, 7.0, 60.0, 300.0])
def test_waits_double_up_to_a_minute_and_are_spread(first_wait_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    wait = backoff(first_wait_s)
    for part in (0.0, 0.3, 1.0):
        monkeypatch.setattr("random.uniform", lambda low, high, part=part: low + part * (high - low))
        for failures in (1, 2, 3, 10, 2000):
            longest_s = min(60.0, first_wait_s * 2.0 ** min(failures - 1, 500))
            assert wait(after(failures)) == pytest.approx(longest_s * (0.5 + 0.5 * part))


def told_and_waited(asked_s: float, *, longest_wait_s: float, max_retries: int) -> tuple[int, list[float], list[float]]:
    """How often a request is sent that always fails, what is told before each wait, and the waits."""
    told: list[float] = []
    waited: list[float] = []
    sent = 0

    async def fail() -> None:
        nonlocal sent
        sent += 1
        raise TransientError("rate_limited", 429, "slow down", asked_s)

    async def sleep(seconds: float) -> None:
        waited.append(float(seconds))

    again = retrying(max_retries=max_retries, first_wait_s=1.0, longest_wait_s=longest_wait_s, before_wait=told.append)
    again.sleep = sleep
    with pytest.raises(TransientError, match="HTTP 429: slow down"):
        asyncio.run(again(fail))
    return sent, told, waited


def test_a_retry_after_is_waited_for_and_told_unless_it_is_too_long() -> None:
    sent, told, waited = told_and_waited(100.0, longest_wait_s=300, max_retries=2)
    assert (sent, told, waited) == (3, [100.0, 100.0], [100.0, 100.0])
    assert told_and_waited(301.0, longest_wait_s=300, max_retries=2) == (1, [], [])
    assert told_and_waited(100.0, longest_wait_s=300, max_retries=0) == (1, [], [])
    sent, told, waited = told_and_waited(0.0, longest_wait_s=300, max_retries=3)
    assert (sent, told) == (4, [])
    assert [0.5 <= waited[0] <= 1, 1 <= waited[1] <= 2, 2 <= waited[2] <= 4] == [True] * 3
    sent, told, waited = told_and_waited(3.0, longest_wait_s=300, max_retries=4)
    assert waited[:2] == [3, 3]
    assert 4 <= waited[3] <= 8, "the longer of both"


def test_every_status_has_one_meaning() -> None:
    kinds = {status: retry_kind(status) for status in (0, 400, 401, 404, 408, 422, 429, 500, 502, 503, 504, 529)}
    assert [status for status, kind in kinds.items() if kind is None] == [400, 401, 404, 422]
    assert [status for status, kind in kinds.items() if kind == "rate_limited"] == [429, 503, 529]
    assert not is_overload(500)
    assert is_overload(429)
    assert is_overload(504)
