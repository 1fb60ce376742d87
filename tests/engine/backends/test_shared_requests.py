"""Samples asked at once share a request; whoever stops waiting does not take it from the others."""

import asyncio

import pytest

from xpoll.core.records import AnswerSchema, Prompt, Sampling
from xpoll.engine.backends.openai.shared_requests import Outcome, SharedRequests


def prompt(sample: int, text: str = "a") -> Prompt:
    return Prompt("d", "p", sample, ({"role": "user", "content": text},), Sampling(0.8, 1.0, 16), AnswerSchema())


class Engine:
    def __init__(self) -> None:
        self.asked: list[int] = []
        self.cancelled = 0

    async def ask(self, prompt: Prompt, number: int) -> list[Outcome]:
        self.asked.append(number)
        try:
            await asyncio.sleep(0.2)  # far longer than the others wait, on a machine at work too
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return [{"text": f"{prompt.messages[0]['content']}{i}"} for i in range(number)]


def test_only_equal_questions_of_one_moment_are_put_together() -> None:
    engine = Engine()

    async def run() -> list[Outcome]:
        shared = SharedRequests(engine.ask)
        asked = [asyncio.create_task(shared.outcome(each)) for each in (prompt(0), prompt(0, "b"), prompt(1))]
        await asyncio.sleep(0.005)
        asked.append(asyncio.create_task(shared.outcome(prompt(2))))
        return list(await asyncio.gather(*asked))

    assert [outcome["text"] for outcome in asyncio.run(run())] == ["a0", "b0", "a1", "a0"]
    assert engine.asked == [2, 1, 1]


@pytest.mark.parametrize(("stopped", "cancelled"), [(1, 0), (3, 1)])
def test_a_request_goes_on_while_anybody_waits_for_it(stopped: int, cancelled: int) -> None:
    engine = Engine()

    async def run() -> list[object]:
        shared = SharedRequests(engine.ask)
        asked = [asyncio.create_task(shared.outcome(prompt(i))) for i in range(3)]
        await asyncio.sleep(0.005)
        for task in asked[:stopped]:
            task.cancel()
        return list(await asyncio.gather(*asked, return_exceptions=True))

    outcomes = asyncio.run(run())
    assert [isinstance(outcome, asyncio.CancelledError) for outcome in outcomes] == [i < stopped for i in range(3)]
    assert engine.cancelled == cancelled


def test_who_stops_before_the_request_is_sent_is_not_asked_for() -> None:
    engine = Engine()

    async def run() -> None:
        shared = SharedRequests(engine.ask)
        one, other = (asyncio.create_task(shared.outcome(prompt(i))) for i in range(2))
        asyncio.get_running_loop().call_soon(one.cancel)
        await asyncio.gather(one, other, return_exceptions=True)

    asyncio.run(run())
    assert engine.asked == [1]


def test_an_error_reaches_everybody_who_waits() -> None:
    async def fail(_prompt: Prompt, _number: int) -> list[Outcome]:
        raise RuntimeError("gone")

    async def run() -> list[object]:
        shared = SharedRequests(fail)
        return list(await asyncio.gather(*(shared.outcome(prompt(i)) for i in range(3)), return_exceptions=True))

    assert [str(error) for error in asyncio.run(run())] == ["gone"] * 3
