"""A student in a process of its own, which is started again when it dies.

Texts that come while a batch is computed are the next batch, so that batches grow with the load and a text that comes
alone does not wait. The event loop never computes. A text that was in flight when the process died is asked once more,
by itself, so that a text that kills processes takes no other with it; then its request ends with 503.
"""

import asyncio
import os
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from xpoll.core.errors import ModelError
from xpoll.pipeline.serving.frames import framed, next_frame
from xpoll.pipeline.serving.metrics import LabellerMetrics
from xpoll.pipeline.serving.request_error import RequestError, unavailable
from xpoll.pipeline.serving.text_label import TextLabel, TokensSpent

LARGEST_BATCH = 32
MOST_WAITING = 4096
ANSWER_WITHIN_S = 120.0
"""A request that has no answer by then ends with 503, also while the process is started again."""
HANG_AFTER_S = 300.0
"""A process that computes one batch for this long is killed."""
LONGEST_BACKOFF_S = 30.0
MOST_DEATHS = 2
"""In how many processes a text may have been when they died."""


@dataclass(slots=True, eq=False)
class _AskedText:
    text: str
    answered: "asyncio.Future[TextLabel]"
    since_s: float
    deaths: int = 0


def worker_command(folder: Path, *, runtime: str = "pytorch", device: str | None = None) -> list[str]:
    """The command that starts the process of a student.

    Args:
        folder: Student folder.
        runtime: What computes, as `StudentModel` has it.
        device: Where; None for the runtime's default.
    """
    named = ["--runtime", runtime, *(["--device", device] if device else [])]
    return [sys.executable, "-P", "-m", "xpoll.pipeline.serving.student_worker", str(folder), *named]


class _GoneError(Exception):
    """The process is not there any more, or cannot load the student."""


class StudentProcess:
    """Labels texts with a student.

    Args:
        command: Starts the process; see `worker_command`.
        metrics: What is counted.
        output: Descriptor that gets what the process prints.
    """

    counting = None

    def __init__(self, command: Sequence[str], metrics: LabellerMetrics, *, output: int = 2) -> None:
        self._command, self._metrics, self._output = command, metrics, output
        self._waiting: deque[_AskedText] = deque()
        self._running: list[_AskedText] = []
        self._came = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._life: asyncio.Task[None] | None = None
        self.is_ready = False
        self.labels: tuple[str, ...] = ()
        self.thresholds: list[float] | None = None
        """From which probability on each label fits, where a text can have several; None where it has one."""
        self.longest: int | None = None
        """Tokens that a text is cut at."""
        metrics.watch(running=lambda: len(self._running), waiting=lambda: len(self._waiting))

    @property
    def pid(self) -> int | None:
        """Of the process that is there now."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Waits until the student is loaded.

        Raises:
            ModelError: it cannot be loaded.
        """
        try:
            process = await self._started()
        except _GoneError as error:
            raise ModelError(f"the student cannot be served: {error}") from error
        self._life = asyncio.create_task(self._live(process))

    async def stop(self) -> None:
        """Ends the process; texts that still wait get a 503."""
        if self._life is not None:
            self._life.cancel()
            with suppress(asyncio.CancelledError):
                await self._life
        self._refuse([*self._running, *self._waiting], "the server is stopping")
        if self._process is not None:
            await self._ended(self._process)

    async def label_texts(self, texts: Sequence[str]) -> list[TextLabel]:
        """One label per text, in their order; long texts are cut.

        Raises:
            RequestError: the process died with a text twice, gave no answer in time, or too many texts wait.
        """
        if len(self._waiting) + len(texts) > MOST_WAITING:
            raise unavailable(f"{len(self._waiting)} texts wait already")
        loop, now_s = asyncio.get_running_loop(), time.monotonic()
        asked = [_AskedText(text, loop.create_future(), now_s) for text in texts]
        self._waiting.extend(asked)
        self._came.set()
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                return list(await asyncio.gather(*(each.answered for each in asked)))
        except TimeoutError:
            raise unavailable(f"no answer within {ANSWER_WITHIN_S:g} s") from None
        finally:
            for each in asked:
                each.answered.cancel()

    async def _live(self, process: asyncio.subprocess.Process) -> None:
        """Feeds the process; starts another one whenever it is gone."""
        while True:
            try:
                await self._feed(process)
            except _GoneError as error:
                self._say(f"the student's process is gone: {error}; another one is started")
            finally:
                self.is_ready = False
            await self._ended(process)
            self._metrics.restarts.inc()
            failed = 0
            while True:
                try:
                    process = await self._started()
                    break
                except _GoneError as error:
                    failed += 1
                    wait_s = min(2.0**failed, LONGEST_BACKOFF_S)
                    self._say(f"the student's process does not start: {error}; tried again in {wait_s:g} s")
                    await asyncio.sleep(wait_s)

    async def _started(self) -> asyncio.subprocess.Process:
        """A process that has loaded the student.

        Raises:
            _GoneError: it ended before.
        """
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *self._command, stdin=pipe, stdout=pipe, stderr=self._output, start_new_session=True
        )
        self._process = process
        assert process.stdout is not None
        try:
            said = await next_frame(process.stdout)
            if "refused" in said:
                raise _GoneError(said["refused"])
        except (EOFError, ConnectionError):
            raise _GoneError(_how_ended(await process.wait())) from None
        except BaseException:
            await self._ended(process)
            raise
        self.labels, self.longest, self.is_ready = tuple(said["labels"]), said["longest"], True
        self.thresholds = said.get("thresholds")
        return process

    async def _feed(self, process: asyncio.subprocess.Process) -> None:
        ended = asyncio.create_task(process.wait())
        try:
            while True:
                self._running = self._next_batch()
                if self._running:
                    await self._answer(process, self._running)
                    continue
                self._came.clear()
                came = asyncio.create_task(self._came.wait())
                await asyncio.wait({came, ended}, return_when=asyncio.FIRST_COMPLETED)
                came.cancel()
                if ended.done():
                    raise _GoneError(_how_ended(ended.result()))
        except (EOFError, ConnectionError):
            self.is_ready = False
            why = _how_ended(await ended)
            self._again(why)
            raise _GoneError(why) from None
        except _GoneError as error:
            self._again(str(error))
            raise
        finally:
            ended.cancel()

    def _next_batch(self) -> list[_AskedText]:
        """The texts that wait longest; one that was in a process that died is asked by itself."""
        batch: list[_AskedText] = []
        while self._waiting and len(batch) < LARGEST_BATCH:
            if self._waiting[0].deaths and batch:
                break
            asked = self._waiting.popleft()
            if asked.answered.done():  # its request is over
                continue
            batch.append(asked)
            if asked.deaths:
                break
        return batch

    async def _answer(self, process: asyncio.subprocess.Process, batch: list[_AskedText]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        began_s = time.monotonic()
        process.stdin.write(framed([asked.text for asked in batch]))
        await process.stdin.drain()
        try:
            async with asyncio.timeout(HANG_AFTER_S):
                said = await next_frame(process.stdout)
        except TimeoutError:
            raise _GoneError(f"it gave no answer for {HANG_AFTER_S:g} s") from None
        if "failed" in said:
            self._say(f"a batch of {len(batch)} texts has no answer: {said['failed']}")
            for asked in batch:
                _fail(
                    asked,
                    RequestError(
                        "the student failed on these texts; the log says how", status=HTTPStatus.INTERNAL_SERVER_ERROR
                    ),
                )
        else:
            self._take(batch, said, began_s)
        self._running = []

    def _take(self, batch: list[_AskedText], said: dict[str, Any], began_s: float) -> None:
        now_s = time.monotonic()
        for asked, shares, tokens in zip(batch, said["shares"], said["tokens"], strict=True):
            if not asked.answered.done():
                asked.answered.set_result(self._label(shares, TokensSpent(tokens)))
            self._metrics.answered(
                tokens, queue_s=began_s - asked.since_s, inference_s=now_s - began_s, e2e_s=now_s - asked.since_s
            )

    def _label(self, shares: list[float], spent: TokensSpent) -> TextLabel:
        if self.thresholds is None:
            return TextLabel(self.labels[shares.index(max(shares))], tuple(shares), "student", spent)
        each = zip(self.labels, shares, self.thresholds, strict=True)
        fitting = tuple(label for label, share, threshold in each if share >= threshold)
        return TextLabel(None, tuple(shares), "student", spent, labels=fitting)

    def _again(self, why: str) -> None:
        """Puts what was in flight back to the front of the queue, but for texts that were in flight twice."""
        for asked in reversed(self._running):
            asked.deaths += 1
            if asked.deaths < MOST_DEATHS:
                self._waiting.appendleft(asked)
            else:
                _fail(asked, unavailable(f"the student's process ended with this text in it, twice: {why}"))
        self._running = []

    def _refuse(self, asked: list[_AskedText], why: str) -> None:
        for each in asked:
            _fail(each, unavailable(why))

    async def _ended(self, process: asyncio.subprocess.Process) -> None:
        """Ends a process that holds nothing: what it was asked is answered, or asked again."""
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()

    def _say(self, line: str) -> None:
        os.write(self._output, f"xpoll serve: {line}\n".encode())


def _fail(asked: _AskedText, error: RequestError) -> None:
    if not asked.answered.done():
        asked.answered.set_exception(error)


def _how_ended(code: int) -> str:
    return f"it was ended by signal {-code}" if code < 0 else f"it ended with exit code {code}"
