"""The thread that steps vLLM's engine, on a stand-in: who gets an answer, who an error, and what is aborted."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

from xpoll.engine.backends.backend import EngineDeadError
from xpoll.engine.backends.vllm import stepped
from xpoll.engine.backends.vllm.stepped import SteppedEngine


class Engine:
    """Each step finishes the oldest request; the prompts "never", "refused" and "deadly" do what they say."""

    model_config = SimpleNamespace(max_model_len=8)

    def __init__(self) -> None:
        self.waiting: list[tuple[str, str]] = []
        self.aborted: list[str] = []
        self.emptied = 0
        self.ended = False

    def add_request(self, request_id: str, prompt: str, params: Any) -> None:
        if prompt == "refused":
            raise ValueError("no such parameter")
        self.waiting.append((request_id, prompt))

    def abort_request(self, request_ids: list[str]) -> None:
        self.aborted += request_ids
        self.waiting = [each for each in self.waiting if each[0] not in request_ids]

    def has_unfinished_requests(self) -> bool:
        return bool(self.waiting)

    def step(self) -> list[Any]:
        if any(prompt == "deadly" for _, prompt in self.waiting):
            raise RuntimeError("it ends here")
        due = [each for each in self.waiting if each[1] != "never"][:1]
        self.waiting = [each for each in self.waiting if each not in due]
        unfinished = [SimpleNamespace(request_id=request_id, finished=False) for request_id, _ in self.waiting]
        return [*unfinished, *(SimpleNamespace(request_id=each[0], finished=True, text=each[1]) for each in due)]

    def reset_prefix_cache(self) -> None:
        if self.waiting:
            raise RuntimeError("requests are running")
        self.emptied += 1


@pytest.fixture
def inner(monkeypatch: pytest.MonkeyPatch) -> Engine:
    engine = Engine()
    monkeypatch.setattr(stepped, "_engine_of", lambda *_: engine)
    monkeypatch.setattr(stepped, "_free", lambda each: setattr(each, "ended", True))
    return engine


def within(work: Coroutine[Any, Any, Any]) -> Any:
    async def bounded() -> Any:
        return await asyncio.wait_for(work, 20)

    return asyncio.run(bounded())


async def one(outputs: AsyncIterator[Any]) -> str:
    async for output in outputs:
        return str(output.text)
    raise AssertionError("no output")


async def until(holds: Callable[[], Any]) -> None:
    for _ in range(1000):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it does not come to hold")


def test_all_are_answered_and_a_refused_request_costs_itself(inner: Engine) -> None:
    async def ask() -> list[Any]:
        engine = SteppedEngine(None)
        prompts = ["a", "refused", "b", "c"]
        asked = [one(engine.generate(prompt, None, str(i))) for i, prompt in enumerate(prompts)]
        told = await asyncio.gather(*asked, return_exceptions=True)
        await engine.reset_prefix_cache()
        engine.shutdown()
        return list(told)

    first, refused, *rest = within(ask())
    assert [first, *rest] == ["a", "b", "c"]
    assert isinstance(refused, ValueError) and str(refused) == "no such parameter"
    assert (inner.emptied, inner.ended, inner.aborted) == (1, True, [])


def test_a_request_that_nobody_waits_for_is_aborted(inner: Engine) -> None:
    async def ask() -> None:
        engine = SteppedEngine(None)
        task = asyncio.create_task(one(engine.generate("never", None, "7")))
        await until(lambda: inner.waiting)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: inner.aborted)
        assert await one(engine.generate("a", None, "8")) == "a"
        engine.shutdown()

    within(ask())
    assert inner.aborted == ["7"]


def test_a_step_that_fails_is_told_to_all_in_flight_and_to_all_that_come_later(
    inner: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    async def ask() -> None:
        engine = SteppedEngine(None)
        assert not engine.errored
        in_flight = [asyncio.create_task(one(engine.generate("never", None, str(i)))) for i in range(3)]
        await until(lambda: len(inner.waiting) == 3)
        in_flight.append(asyncio.create_task(one(engine.generate("deadly", None, "9"))))
        for task in in_flight:
            with pytest.raises(EngineDeadError, match="RuntimeError: it ends here"):
                await task
        with pytest.raises(EngineDeadError, match="it ends here"):
            await one(engine.generate("a", None, "10"))
        assert engine.errored
        with pytest.raises(EngineDeadError, match="it ends here"):
            await engine.reset_prefix_cache()
        engine.shutdown()

    within(ask())
    assert "it ends here" in capsys.readouterr().err, "the traceback is in the run's log"


def test_who_still_waits_at_the_end_is_told(inner: Engine) -> None:
    async def ask() -> None:
        engine = SteppedEngine(None)
        task = asyncio.create_task(one(engine.generate("never", None, "1")))
        await until(lambda: inner.waiting)
        engine.shutdown()
        with pytest.raises(EngineDeadError, match="it was stopped"):
            await task

    within(ask())


def test_a_call_that_fails_costs_itself(inner: Engine) -> None:
    async def ask() -> None:
        engine = SteppedEngine(None)
        task = asyncio.create_task(one(engine.generate("never", None, "1")))
        await until(lambda: inner.waiting)
        with pytest.raises(RuntimeError, match="requests are running"):
            await engine.reset_prefix_cache()
        assert await one(engine.generate("a", None, "2")) == "a"
        task.cancel()
        engine.shutdown()

    within(ask())


def test_an_engine_that_does_not_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any) -> Any:
        raise ValueError("no such model")

    monkeypatch.setattr(stepped, "_engine_of", failing)
    with pytest.raises(ValueError, match="no such model"):
        SteppedEngine(None)
