"""One continuous-batching pipeline of OpenVINO GenAI, stepped by its owner; every call but `add` in one thread.

A step computes one token of each running request. Bindings of 2026.4 hold Python's lock for all of it.

A constraint that xgrammar refuses raises out of `step`, and the pipeline then raises at every further step. So after a
failure the pipeline is made anew, and the requests whose constraint was never seen to work are tried one at a time: the
one that fails alone is refused, and all others are answered.
"""

import re
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from xpoll.engine.backends.openvino.requests import Constraint
from xpoll.engine.backends.openvino.waiting import WaitingRequests

MOST_RUNNING = 32
"""Requests in the pipeline, unless the job sets engine.openvino.scheduler.max_num_seqs."""


class Outcome(NamedTuple):
    """How a request ended.

    Attributes:
        token_ids: What was generated, behind the prompt's tokens where the request echoes them.
        logprobs: Natural logarithm of each token's probability over the whole vocabulary, where they were asked for.
            Of an echoed prompt they lack as many at the beginning as the prefix cache held.
        finish_reason: "stop" or "length".
        refused: Why there is no answer; empty where there is one.
    """

    token_ids: list[int]
    logprobs: list[float]
    finish_reason: str
    refused: str = ""


@dataclass(eq=False, slots=True)
class PipelineRequest:
    """One request.

    Attributes:
        token_ids: The prompt.
        config: A GenerationConfig.
        constraint: What the config holds the answer to.
        is_wanted: False once nobody waits for the answer.
        handle: GenAI's handle, while it runs.
    """

    token_ids: list[int]
    config: Any
    constraint: Constraint | None = None
    is_wanted: bool = True
    handle: Any = field(default=None, repr=False)

    @property
    def echoes(self) -> bool:
        """Whether the prompt's logprobs are told."""
        return bool(self.config.echo)


class PipelineRunner:
    """Runs requests.

    Args:
        make_pipeline: Loads the model: a ContinuousBatchingPipeline.
        most_running: Most requests in the pipeline; those that begin together may be more.
    """

    def __init__(self, make_pipeline: Callable[[], Any], *, most_running: int = MOST_RUNNING) -> None:
        self._make, self._most_running = make_pipeline, most_running
        self._pipeline: Any = make_pipeline()
        self._waiting: WaitingRequests[PipelineRequest] = WaitingRequests(most_running)
        self._alone: deque[PipelineRequest] = deque()
        self._running: list[PipelineRequest] = []
        self._proven: set[Constraint] = set()
        self._numbers = 0
        self._ended_so_far = 0

    def add(self, requests: Sequence[PipelineRequest]) -> None:
        """Takes requests of one kind, from any thread; they begin in the same step."""
        self._waiting.add(requests)

    @property
    def has_work(self) -> bool:
        """Whether a step would do anything."""
        return bool(self._waiting or self._alone or self._running)

    @property
    def kv_cache_usage(self) -> float:
        """Share of the KV cache that is used, from 0 to 1."""
        return float(self._pipeline.get_metrics().cache_usage) / 100

    @property
    def running(self) -> int:
        """Requests in the pipeline."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Requests that are not in the pipeline yet."""
        return len(self._waiting) + len(self._alone)

    def step(self) -> list[tuple[PipelineRequest, Outcome]]:
        """Computes a token of each running request; the requests that ended with it.

        Raises:
            RuntimeError: the engine failed, and no constraint is to blame.
        """
        done = self._admit()
        for request in [each for each in self._running if not each.is_wanted]:
            request.handle.cancel()
            self._running.remove(request)
        if not self._running:
            return done
        try:
            self._pipeline.step()
        except RuntimeError as error:
            return done + self._after(error)
        return done + self._ended()

    def _admit(self) -> list[tuple[PipelineRequest, Outcome]]:
        refused = []
        while group := self._next():
            for request in group:
                if not request.is_wanted:
                    continue
                try:
                    self._begin(request)
                except (RuntimeError, ValueError, TypeError) as error:
                    refused.append((request, _refused(error)))
        return refused

    def _next(self) -> Sequence[PipelineRequest]:
        """The requests that begin together next; none where the pipeline has enough.

        GenAI looks for a prompt's beginning in the cache when it takes the prompt. So prompts wait here until those
        before them have ended, and at the beginning all but one do.
        """
        if self._alone:
            return [] if self._running else [self._alone.popleft()]
        if len(self._running) >= min(self._most_running, 1 + self._ended_so_far):
            return []
        return self._waiting.pop(nothing_runs=not self._running)

    def _begin(self, request: PipelineRequest) -> None:
        import numpy as np
        import openvino

        self._numbers += 1
        ids = openvino.Tensor(np.asarray([request.token_ids], dtype=np.int64))
        request.handle = self._pipeline.add_request(self._numbers, ids, request.config)
        self._running.append(request)

    def _after(self, error: RuntimeError) -> list[tuple[PipelineRequest, Outcome]]:
        """Makes the pipeline anew and has everything asked again, but for the request that is to blame."""
        suspects = [each for each in self._running if each.constraint and each.constraint not in self._proven]
        if not suspects:
            raise error
        others = [each for each in self._running if each not in suspects]
        for request in self._running:
            request.handle = None
        self._running.clear()
        self._pipeline = None  # its memory first
        self._pipeline = self._make()
        for request in reversed(others):
            self._waiting.put_back(request)
        if len(suspects) == 1:
            return [(suspects[0], _refused(error))]
        self._alone.extend(suspects)
        return []

    def _ended(self) -> list[tuple[PipelineRequest, Outcome]]:
        from openvino_genai import GenerationStatus

        ended = []
        for request in list(self._running):
            status = request.handle.get_status()
            if request.constraint and (status == GenerationStatus.FINISHED or request.handle.can_read()):
                self._proven.add(request.constraint)
            if status != GenerationStatus.RUNNING:
                self._running.remove(request)
                self._ended_so_far += 1
                ended.append((request, _outcome(request.handle, status)))
        return ended


def _outcome(handle: Any, status: Any) -> Outcome:
    from openvino_genai import GenerationFinishReason, GenerationStatus

    if status != GenerationStatus.FINISHED:
        return Outcome([], [], "", "there is no room in the KV cache (engine.openvino.scheduler.cache_size, in GB)")
    (output,) = handle.read_all()
    reason = "length" if output.finish_reason == GenerationFinishReason.LENGTH else "stop"
    return Outcome(list(output.generated_ids), list(output.generated_log_probs), reason)


def _refused(error: Exception) -> Outcome:
    return Outcome([], [], "", said_by(error))


def said_by(error: Exception) -> str:
    """What OpenVINO or xgrammar says, without time and place in its source: the last line that is not empty."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return re.sub(r"^\[[\d:]+\] \S+:\d+: ", "", lines[-1]) if lines else type(error).__name__
