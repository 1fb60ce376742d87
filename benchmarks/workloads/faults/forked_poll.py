"""A poll whose driver is forked from a process that has imported everything, and whose workers are threads of it.

The command, the dispatcher, the journal and the backends are the product's; Ray and its processes are not there, so
that a poll takes tenths of a second and not seconds. What a worker process would do when it is killed or hangs, a
worker thread does as it is told; the driver is a process that can be killed.
"""

import asyncio
import multiprocessing
import os
import runpy
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future
from concurrent.futures import wait as wait_for
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import psutil

from xpoll.benchmarks.workloads.faults.inner_faults import InnerFault, inflicted
from xpoll.benchmarks.workloads.faults.poll_process import PollProcess
from xpoll.core.config.job import EngineConfig
from xpoll.engine.backends.backend import BackendSettings
from xpoll.engine.devices.find import Device
from xpoll.engine.work import StopRule
from xpoll.engine.worker import Worker

PRELOADED = [
    *("xpoll.scripts.commands.poll", "xpoll.pipeline.run", "xpoll.core.progress"),
    *("xpoll.engine.backends.simulated.backend", "xpoll.engine.backends.openai.backend"),
    *("xpoll.engine.backends.replay", "xpoll.engine.run", "xpoll.scripts.cli", "ray", "pandas"),
    *("pyarrow.compute", "pyarrow.parquet", "pyarrow.pandas_compat", __name__),
]
EXCHANGE_S = 0.01
"""What each exchange takes at least, so that a poll lasts long enough to meet something."""


def preload() -> None:
    """Names what the processes that are forked from then on have imported already; call it before the first one."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOADED)


class ForkedPoll(PollProcess):
    """One poll, which can be restarted after a kill.

    Attributes:
        inner: What the next session does to itself; once.
    """

    inner: InnerFault | None = None

    def start(self) -> None:
        """Starts the poll, or resumes it after a kill."""
        inner, self.inner = self.inner, None
        context = multiprocessing.get_context("forkserver")
        self._forked = context.Process(target=_poll, args=(str(self._cwd), inner))
        self._forked.start()
        self._started_s = time.monotonic()

    @property
    def pid(self) -> int:
        """Of the driver."""
        return int(self._forked.pid or 0)

    @property
    def is_running(self) -> bool:
        """Whether the driver runs."""
        return self._forked.exitcode is None

    def send(self, number: signal.Signals) -> None:
        """Sends the driver a signal; none where it has ended."""
        if self.is_running:
            os.kill(self.pid, number)

    def workers(self) -> list[psutil.Process]:
        """What the driver has started and left."""
        try:
            below: list[psutil.Process] = psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        return below

    def _exit_code(self, timeout_s: float) -> int | None:
        self._forked.join(timeout_s)
        return self._forked.exitcode


def _poll(cwd: str, inner: InnerFault | None) -> None:
    """The driver."""
    os.setsid()
    os.chdir(cwd)
    output = os.open("output.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(output, 1)
    os.dup2(output, 2)
    code = 130  # where a signal comes before the command could take it, or behind its end
    try:
        code = _command(inner)
    except KeyboardInterrupt:
        pass
    finally:
        sys.stdout.flush()
        os._exit(code)  # without what multiprocessing does at the end of a process, which takes signals of its own


def _command(inner: InnerFault | None) -> int:
    """Runs `xpoll poll job.toml`; returns its exit code."""
    sys.argv = ["xpoll", "poll", "job.toml"]
    try:
        with threads_for_workers(inner), inflicted(inner):
            runpy.run_module("xpoll", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        return int(ended.code or 0)
    except Exception:
        traceback.print_exc()
    return 1


@contextmanager
def threads_for_workers(inner: InnerFault | None) -> Iterator[None]:
    """Runs within the block ask workers that are threads of this process.

    Args:
        inner: What one of the workers does.
    """
    engines = ThreadEngines(inner)
    with ExitStack() as stack:
        for target, instead in {
            "xpoll.engine.worker.guard_children": lambda: None,
            "xpoll.engine.worker._write_output_to": lambda _: None,
            "xpoll.engine.run.engines_for_run": lambda: engines,
            "ray.wait": _wait,
            "ray.get": _get,
        }.items():
            stack.enter_context(mock.patch(target, instead))
        yield


class ThreadEngines:
    """Workers in threads; as `engine.lifetime.Engines`.

    Args:
        inner: What one of the workers does.
    """

    def __init__(self, inner: InnerFault | None) -> None:
        self._inner = inner

    @contextmanager
    def session(self, config: EngineConfig, *, log: Path) -> Iterator[list[Device]]:
        """Yields a device for each of `engine.replicas`."""
        del log
        yield [Device("cpu", number, "thread") for number in range(config.replicas or 1)]

    def worker(self, config: EngineConfig, device: Device, number: int, *, stop: StopRule, log: Path) -> "ThreadWorker":
        """A new worker; what is done to one is done once."""
        inner, self._inner = (self._inner, None) if self._inner and self._inner.of_worker else (None, self._inner)
        return ThreadWorker(config, device, f"worker-{number}", stop=stop, log=log, inner=inner)

    def kill(self, worker: "ThreadWorker") -> None:
        """Ends a worker; what it was asked is not answered."""
        worker.end()

    def give_back(self, workers: dict[int, "ThreadWorker"]) -> None:
        """Ends them: they are of this run."""
        for worker in workers.values():
            worker.end()

    def are_up(self) -> bool:
        """None is before a run."""
        return False


class ThreadWorker:
    """The handle of a worker: `start`, `begin`, `exchange` and `stop` have a `remote`, as an actor's methods do.

    Args:
        config: The engine section.
        device: Of the worker.
        name: Of the worker.
        stop: When a document needs no more answers.
        log: Of the run.
        inner: What it does, at one of its exchanges.
    """

    def __init__(
        self,
        config: EngineConfig,
        device: Device,
        name: str,
        *,
        stop: StopRule,
        log: Path,
        inner: InnerFault | None,
    ) -> None:
        settings = BackendSettings(config.model, device, name, config.backend_options)
        self._made: Callable[[], Worker] = lambda: Worker(
            config.backend, settings, str(log), stop=stop, max_in_flight=config.max_in_flight
        )
        self._inner, self._exchanges = inner, 0
        self._asked: set[Future[Any]] = set()
        self._is_dead = False
        self._loop = asyncio.new_event_loop()
        self._worker: Worker | None = None
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def __getattr__(self, name: str) -> "_Method":
        """The method of that name."""
        return _Method(self, name)

    def end(self, error: str = "the worker was ended") -> None:
        """Ends it as SIGKILL would: every call that is not answered fails."""
        self._is_dead = True
        for asked in list(self._asked):
            _fail(asked, error)

    def call(self, name: str, arguments: Sequence[Any]) -> Future[Any]:
        """The outcome of a method, later."""
        outcome: Future[Any] = Future()
        self._asked.add(outcome)
        if self._is_dead:
            _fail(outcome, "the worker is dead")
        else:
            asyncio.run_coroutine_threadsafe(self._done(outcome, name, arguments), self._loop)
        return outcome

    async def _done(self, outcome: Future[Any], name: str, arguments: Sequence[Any]) -> None:
        try:
            if name == "exchange":
                await self._misbehave()
            self._worker = self._worker or self._made()
            value = await getattr(self._worker, name)(*arguments)
        except Exception as error:
            self._is_dead = self._is_dead or name == "exchange"
            _fail(outcome, f"{type(error).__name__}: {error}")
        else:
            if not self._is_dead and not outcome.done():
                outcome.set_result(value)
        self._asked.discard(outcome)

    async def _misbehave(self) -> None:
        await asyncio.sleep(EXCHANGE_S)
        self._exchanges += 1
        inner = self._inner
        if inner is None or self._exchanges < inner.at:
            return
        if inner.kind == "worker dies":
            self.end("the worker died (SIGKILL)")
        elif inner.kind == "worker hangs":
            await asyncio.sleep(3600)
        elif inner.kind == "worker slows down" and self._exchanges < inner.at + 5:
            await asyncio.sleep(inner.seconds)


class _Method:
    """A method of a worker that is called from elsewhere."""

    def __init__(self, worker: ThreadWorker, name: str) -> None:
        self._worker, self._name = worker, name

    def remote(self, *arguments: Any) -> Future[Any]:
        """Calls it."""
        return self._worker.call(self._name, arguments)


def _fail(outcome: Future[Any], reason: str) -> None:
    import ray

    if not outcome.done():
        outcome.set_exception(ray.exceptions.RayError(reason))


def _wait(calls: list[Future[Any]], *, num_returns: int, timeout: float) -> tuple[list[Any], list[Any]]:
    """As `ray.wait`."""
    done = wait_for(calls, timeout if num_returns == 1 else 0, FIRST_COMPLETED).done
    return [call for call in calls if call in done], [call for call in calls if call not in done]


def _get(call: Future[Any]) -> Any:
    """As `ray.get` of something that is there."""
    return call.result(0)
