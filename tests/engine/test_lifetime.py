"""Engines that stay for several runs: who may use them, what is begun anew, and when they end."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from xpoll.core.config.job import EngineConfig
from xpoll.core.errors import ConfigError, EngineError
from xpoll.core.records import AnswerSchema, Completion, Prompt, Sampling
from xpoll.engine import lifetime
from xpoll.engine.devices.find import Device
from xpoll.engine.lifetime import KeptEngines, RunEngines, engines_for_run, shared_engines
from xpoll.engine.scheduler import Scheduler
from xpoll.engine.work import NeverStop, Work

CONFIG = EngineConfig(backend="simulated", device="cpu")
DEVICES = [Device("cpu", 0, "a"), Device("cpu", 1, "b")]


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """No Ray; what would have happened to it, in order."""
    said: list[str] = []

    @contextmanager
    def running(_: EngineConfig) -> Iterator[list[Device]]:
        said.append("ray")
        yield DEVICES
        said.append("no ray")

    @contextmanager
    def session(config: EngineConfig, *, log: Path) -> Iterator[list[Device]]:
        with running(config) as devices:
            yield devices

    def create(config: EngineConfig, device: Device, **named: Any) -> Any:
        said.append(f"created {named['name']}")
        return mock.Mock()

    monkeypatch.setattr(lifetime, "running_ray", running)
    monkeypatch.setattr(lifetime, "ray_session", session)
    monkeypatch.setattr(lifetime, "create_worker", create)
    monkeypatch.setattr(lifetime, "shut_down_workers", lambda workers, _: said.append(f"ended {len(workers)}"))
    return said


def run(engines: Any, log: Path, config: EngineConfig = CONFIG, error: BaseException | None = None) -> list[Any]:
    """A run that takes a worker for each device and leaves them."""
    with engines.session(config, log=log) as devices:
        named = {"stop": NeverStop(), "log": log}
        workers = [engines.worker(config, device, i, **named) for i, device in enumerate(devices)]
        try:
            if error is not None:
                raise error
        finally:
            engines.give_back(dict(enumerate(workers)))
    return workers


def test_a_second_run_begins_on_the_workers_of_the_first(ray: list[str], tmp_path: Path) -> None:
    kept = KeptEngines(CONFIG)
    assert not kept.are_up()
    first = run(kept, tmp_path / "log")
    assert kept.are_up()
    second = run(kept, tmp_path / "log", CONFIG.model_copy(update={"max_in_flight": 7}))
    assert second == first
    for worker in first:
        worker.begin.remote.assert_called_once_with(str(tmp_path / "log"), stop=NeverStop(), max_in_flight=7)
    kept.close()
    kept.close()
    assert ray == ["ray", "created worker-0", "created worker-1", "ended 2", "no ray"]


def test_a_run_that_is_stopped_leaves_them_and_one_that_fails_ends_them(ray: list[str], tmp_path: Path) -> None:
    kept = KeptEngines(CONFIG)
    with pytest.raises(KeyboardInterrupt):
        run(kept, tmp_path / "log", error=KeyboardInterrupt())
    assert kept.are_up()
    with pytest.raises(EngineError):
        run(kept, tmp_path / "log", error=EngineError("no device is left"))
    assert not kept.are_up() and ray[-2:] == ["ended 2", "no ray"]
    run(kept, tmp_path / "log")
    assert ray[-3:] == ["ray", "created worker-0", "created worker-1"]
    kept.close()


def test_others_are_refused_in_one_line(ray: list[str], tmp_path: Path) -> None:
    kept = KeptEngines(CONFIG)
    with pytest.raises(
        ConfigError, match=r"keys that differ: engine\.model, engine\.replicas -> leave the job's engine"
    ):
        run(kept, tmp_path / "log", CONFIG.model_copy(update={"model": "m", "replicas": 3}))
    assert ray == [], "nothing was started for it"
    run(kept, tmp_path / "log")
    with pytest.raises(EngineError, match="an engine that is kept in this process holds its devices"):
        run(RunEngines(), tmp_path / "log")
    with pytest.raises(EngineError, match="another engine is kept in this process"):
        run(KeptEngines(CONFIG), tmp_path / "log")
    kept.close()
    with pytest.raises(EngineError, match="this engine is closed"), kept.lent():
        pass
    run(RunEngines(mock.Mock(), mock.Mock()), tmp_path / "log")
    assert ray[-3:] == ["ray", "ended 2", "no ray"]


def test_they_are_lent_for_a_block() -> None:
    kept = KeptEngines(CONFIG)
    with kept.lent():
        assert engines_for_run() is kept
    assert isinstance(engines_for_run(), RunEngines)


def test_the_runs_of_a_block_share_them_and_the_block_ends_them(ray: list[str], tmp_path: Path) -> None:
    with shared_engines(CONFIG):
        assert ray == [], "nothing is started before a run needs it"
        first = run(engines_for_run(), tmp_path / "log")
        with shared_engines(CONFIG):
            assert run(engines_for_run(), tmp_path / "log") == first
    assert ray == ["ray", "created worker-0", "created worker-1", "ended 2", "no ray"]
    with shared_engines(CONFIG):
        first = run(engines_for_run(), tmp_path / "log")
        assert run(engines_for_run(), tmp_path / "log", CONFIG.model_copy(update={"model": "m"})) != first
        assert ray[-5:] == ["ended 2", "no ray", "ray", "created worker-0", "created worker-1"]
    with pytest.raises(KeyboardInterrupt), shared_engines(CONFIG):
        run(engines_for_run(), tmp_path / "log", error=KeyboardInterrupt())
    assert ray[-2:] == ["ended 2", "no ray"] and isinstance(engines_for_run(), RunEngines)
    kept = KeptEngines(CONFIG)
    with kept.lent(), shared_engines(CONFIG):
        assert engines_for_run() is kept
    assert not kept.is_closed


class Slow:
    """Answers when it is let; counts what was begun and what was aborted."""

    def __init__(self) -> None:
        self.let, self.begun, self.aborted = asyncio.Event(), 0, 0

    async def answer(self, prompt: Prompt) -> Completion:
        self.begun += 1
        try:
            await self.let.wait()
        except asyncio.CancelledError:
            self.aborted += 1
            raise
        return Completion(*prompt.key, text="good", finish_reason="stop")

    def load(self) -> None:
        return None


def test_what_a_run_leaves_in_a_backend_is_aborted_before_the_next() -> None:
    def work(name: str, number: int) -> list[Work]:
        prompt = Prompt("", "p", 0, (), Sampling(0.0, 1.0, 1), AnswerSchema(("good", "bad")))
        ids = [f"{name}-{i}" for i in range(number)]
        return [Work(each, (prompt._replace(document_id=each),)) for each in ids]

    async def two_runs() -> None:
        backend: Any = Slow()
        first = Scheduler(backend, stop=NeverStop(), max_in_flight=4)
        assert (await first.exchange(work("first", 6), 0.01)).answers is None
        assert backend.begun == 4
        await first.abandon()
        assert (backend.begun, backend.aborted) == (4, 4), "the two that waited were not begun in their place"
        backend.let.set()
        second = Scheduler(backend, stop=NeverStop(), max_in_flight=4)
        reply = await second.exchange(work("second", 1), 5.0)
        assert reply.finished == ["second-0"]
        assert reply.answers is not None and reply.answers.column("document_id").to_pylist() == ["second-0"]

    asyncio.run(two_runs())
