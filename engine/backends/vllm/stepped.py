"""vLLM's engine inside the worker's process, stepped by a thread: as much of AsyncLLM's interface as the backend uses.

AsyncLLM starts a process for the engine's core and, on processors, one more below it for the model; each imports vLLM
anew. On a GPU that lets scheduling overlap with the device's work. On a processor all of them compute on the same
cores, and the imports are more than half of the start: 46 to 50 s with them, 20 to 21 s without (two cores of an EPYC).
"""

import asyncio
import os
import queue
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from xpoll.engine.backends.backend import EngineDeadError

ONE_PROCESS = "VLLM_ENABLE_V1_MULTIPROCESSING"
JOIN_S = 30.0
"""How long `shutdown` waits for the step that is computed."""


class SteppedEngine:
    """An LLMEngine and its thread.

    Args:
        arguments: AsyncEngineArgs.
        **named: What from_engine_args takes beside them.

    Raises:
        Exception: vLLM's own, if the engine does not start.
    """

    def __init__(self, arguments: Any, **named: Any) -> None:
        self._mail: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._answers: dict[str, tuple[asyncio.AbstractEventLoop, asyncio.Future[Any]]] = {}
        self._dead: str | None = None
        self._stopped = False
        started: Future[Any] = Future()
        self._thread = threading.Thread(target=self._work, args=(arguments, named, started), name="vllm", daemon=True)
        self._thread.start()
        self._engine = started.result()
        self.model_config = self._engine.model_config

    @property
    def errored(self) -> bool:
        """Whether the engine is gone."""
        return self._dead is not None

    def get_tokenizer(self) -> Any:
        """vLLM's tokenizer of the model."""
        return self._engine.get_tokenizer()

    async def generate(self, prompt: Any, params: Any, request_id: str) -> AsyncIterator[Any]:
        """The finished output of a request, which is aborted where nobody waits for it any more.

        Raises:
            ValueError: vLLM refuses the request; also TypeError, or vLLM's own class.
            EngineDeadError: the engine is gone.
        """
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        self._answers[request_id] = (loop, answer)
        self._post(partial(self._add, request_id, prompt, params))
        try:
            yield await answer
        finally:
            if self._answers.pop(request_id, None) is not None and not self.errored:
                self._mail.put(partial(self._abort, request_id))

    async def reset_prefix_cache(self) -> None:
        """Empties the prefix cache."""
        await self._called(lambda: self._engine.reset_prefix_cache())

    async def start_profile(self) -> None:
        """Starts vLLM's profiler."""
        await self._called(lambda: self._engine.start_profile())

    async def stop_profile(self) -> None:
        """Stops vLLM's profiler."""
        await self._called(lambda: self._engine.stop_profile())

    def shutdown(self) -> None:
        """Ends the thread after the step that is computed, and frees what the engine holds."""
        self._stopped = True
        self._mail.put(lambda: None)
        if threading.current_thread() is not self._thread:
            self._thread.join(JOIN_S)

    def _post(self, letter: Callable[[], None]) -> None:
        self._mail.put(letter)
        if self._dead is not None:  # the thread has read its last letter
            self._fail(EngineDeadError(self._dead))

    async def _called(self, call: Callable[[], Any]) -> None:
        done: Future[None] = Future()

        def run() -> None:
            try:
                call()
            except Exception as error:  # for the caller
                done.set_exception(error)
            else:
                done.set_result(None)

        self._post(run)
        if self._dead is not None and not done.done():
            raise EngineDeadError(self._dead)
        await asyncio.wrap_future(done)

    def _add(self, request_id: str, prompt: Any, params: Any) -> None:
        if request_id not in self._answers:
            return  # nobody waits for it any more
        try:
            self._engine.add_request(request_id, prompt, params)
        except Exception as error:  # a request that vLLM refuses costs itself
            self._tell([(request_id, None, error)])

    def _abort(self, request_id: str) -> None:
        self._engine.abort_request([request_id])

    def _work(self, arguments: Any, named: dict[str, Any], started: "Future[Any]") -> None:
        """The thread: starts the engine, then reads letters and computes steps."""
        try:
            self._engine = _engine_of(arguments, named)
        except BaseException as error:  # for who waits for the start
            started.set_exception(error)
            return
        started.set_result(self._engine)
        try:
            while not self._stopped:
                for letter in self._letters(wait=not self._engine.has_unfinished_requests()):
                    letter()
                if not self._stopped and self._engine.has_unfinished_requests():
                    self._tell([(each.request_id, each, None) for each in self._engine.step() if each.finished])
        except Exception as error:  # what state the engine is in is not known
            traceback.print_exc()  # the run's log
            self._die(f"{type(error).__name__}: {error}")
        finally:
            self._die("it was stopped")
            for letter in self._letters(wait=False):  # whoever wrote before that waits for an end, too
                with suppress(Exception):
                    letter()
            _free(self._engine)

    def _letters(self, *, wait: bool) -> Iterator[Callable[[], None]]:
        if wait:
            yield self._mail.get()
        while not self._mail.empty():
            yield self._mail.get()

    def _die(self, why: str) -> None:
        self._dead = self._dead or why
        self._fail(EngineDeadError(self._dead))

    def _fail(self, error: Exception) -> None:
        self._tell([(request_id, None, error) for request_id in list(self._answers)])

    def _tell(self, ended: Sequence[tuple[str, Any, Exception | None]]) -> None:
        """Gives outputs or errors to those who wait, one call of a loop for all of them."""
        told: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any, Exception | None]]] = {}
        for request_id, output, error in ended:
            if (found := self._answers.pop(request_id, None)) is not None:
                told.setdefault(found[0], []).append((found[1], output, error))
        for loop, each in told.items():
            if not loop.is_closed():
                loop.call_soon_threadsafe(_settle, each)


def _settle(told: Sequence[tuple["asyncio.Future[Any]", Any, Exception | None]]) -> None:
    for answer, output, error in told:
        if answer.done():
            continue
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(output)


def _engine_of(arguments: Any, named: dict[str, Any]) -> Any:
    import logging

    from vllm.v1.engine.llm_engine import LLMEngine

    # The listener comes beside a logger that writes the engine's rate every ten seconds; the run has its own lines.
    logging.getLogger("vllm.v1.metrics.loggers").setLevel(logging.WARNING)
    arguments.disable_log_stats = False
    with _in_one_process():
        return LLMEngine.from_engine_args(arguments, **named)


@contextmanager
def _in_one_process() -> Iterator[None]:
    before = os.environ.get(ONE_PROCESS)
    os.environ[ONE_PROCESS] = "0"
    try:
        yield
    finally:
        os.environ.pop(ONE_PROCESS)
        if before is not None:
            os.environ[ONE_PROCESS] = before


def _free(engine: Any) -> None:
    """So that another engine can start in this process."""
    from vllm.distributed import cleanup_dist_env_and_memory

    engine.engine_core.shutdown()
    cleanup_dist_env_and_memory()
