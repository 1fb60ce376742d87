"""A timed engine without a device: the roofline of a named GPU, drawn answers, and fault injection.

Its answers depend on the prompt's key and the seed alone: the same in every process and run, in any order of
the prompts. Their times follow continuous batching: each step computes the prompts that it admits and one
token of every running one. Not modelled: prefixes that prompts share, a bound on the prompt tokens of a step,
preemption (KV cache for the whole answer is reserved when a prompt is admitted).

Completions name their device "simulated:NAME", so that no figure passes for a measured one.
"""

import asyncio
import os
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pyarrow as pa

from xpoll.core.config.file import checked_section
from xpoll.core.errors import EngineError
from xpoll.core.questions import fitting
from xpoll.core.records import Completion, Prompt
from xpoll.engine.backends.backend import BackendSettings, EngineDeadError, Load
from xpoll.engine.backends.simulated.batch import drawn_batch
from xpoll.engine.backends.simulated.draws import (
    SimulatedOptions,
    draw_choice,
    draw_length,
    draw_text,
    draw_yes_logprobs,
    drawn_logprobs,
    draws,
    json_text,
    true_choice,
)
from xpoll.engine.planning.rooflines import MODEL_SHAPES, decode_step_s, kv_capacity_tokens, prefill_s, roofline_of

SHORTEST_SLEEP_S = 0.001  # event loops do not wait for less
DEVICE_LOST = "UR_RESULT_ERROR_DEVICE_LOST (simulated)"


@dataclass(slots=True, eq=False)
class _Request:
    """A prompt on its way through the batch."""

    document_id: str
    prompt_tokens: int
    output_tokens: int
    answered: "asyncio.Future[None]"
    first_step: int = 0

    @property
    def room(self) -> int:
        """Tokens in the KV cache once the answer is complete."""
        return self.prompt_tokens + self.output_tokens

    @property
    def last_step(self) -> int:
        """The step after which the answer is complete."""
        return self.first_step + self.output_tokens


class SimulatedBackend:
    """One engine on one simulated device.

    Args:
        settings: What the backend starts with.
    """

    def __init__(self, settings: BackendSettings) -> None:
        self._settings = settings
        self._steps: asyncio.Task[None] | None = None
        self._work = asyncio.Event()
        self._waiting: deque[_Request] = deque()
        self._running: dict[int, list[_Request]] = {}  # by the step after which the answer is complete
        self._num_running = self._context_tokens = self._room_taken = 0
        self._num_steps = self._num_answers = 0
        self._due_s = 0.0
        self._dead: str | None = None
        self._hung = False

    async def start(self) -> None:
        """Reads the options; loading takes no time.

        Raises:
            ConfigError: an option is unknown, or a value breaks a rule.
            EngineError: the device is lost for good.
        """
        self._options = options = checked_section(SimulatedOptions, self._settings.options, "engine.simulated")
        worker = self._settings.worker
        self._roofline, self._shape = roofline_of(options.device), MODEL_SHAPES[options.model_shape]
        self._capacity_tokens = kv_capacity_tokens(self._roofline, self._shape)
        self._device = f"simulated:{options.device}"
        self._time_scale = options.time_scale * options.slow_workers.get(worker, 1.0)
        self._faulty = frozenset(chain(options.die_on, options.hang_on, options.exit_on))
        loses_device = not options.lose_device_workers or worker in options.lose_device_workers
        folder = options.lost_devices_folder
        self._lost_for_good = Path(folder, worker) if folder is not None else None
        self._answers_until_lost = options.lose_device_after_answers if loses_device else None
        if self._lost_for_good is not None and self._lost_for_good.exists():
            raise EngineError(DEVICE_LOST)
        self._steps = asyncio.create_task(self._run_steps())

    async def answer(self, prompt: Prompt) -> Completion:
        """The drawn completion of one prompt, after its simulated time.

        Raises:
            EngineDeadError: a fault killed the engine, or it was stopped.
        """
        if self._num_answers == self._answers_until_lost:
            self._die(DEVICE_LOST)
        if self._dead is not None:
            raise EngineDeadError(self._dead)
        options, schema, started_unix_s, latency_s = self._options, prompt.answer, time.time(), 0.0
        document_id, persona_id, sample = prompt.document_id, prompt.persona_id, prompt.sample
        agrees, other, length, fails = draws(f"{options.seed}\x1f{document_id}\x1f{persona_id}\x1f{sample}")
        prompt_tokens = 0
        for message in prompt.messages:
            prompt_tokens += len(message["content"])
        prompt_tokens = computed = max(1, prompt_tokens // 4)
        output_tokens = draw_length(prompt, options, length)
        if schema.questions:  # all share the prompt, and each has one token of answer
            own_tokens = sum(max(1, len(question) // 4) for question in schema.questions.each)
            computed += own_tokens
            prompt_tokens = own_tokens + len(schema.choices) * prompt_tokens
        refusal = self._refusal(prompt, computed + output_tokens, fails)
        if self._hung or (refusal is None and (self._time_scale or document_id in self._faulty)):
            latency_s = await self._through_batch(document_id, computed, output_tokens)
        elif refusal is not None:
            return refusal
        else:
            self._num_answers += 1
        logprobs = None
        if schema.questions:
            answer_id = f"{document_id}\x1f{persona_id}\x1f{sample}"
            logprobs = draw_yes_logprobs(document_id, answer_id, schema.choices, options.seed, options.agreement)
            text = fitting(schema.choices, logprobs)
        elif not schema.choices:
            text = "{}" if schema.json_schema is not None else draw_text(output_tokens, other)
        else:
            truth = true_choice(document_id, schema.choices, options.seed)
            text = draw_choice(schema.choices, truth, options.agreement, agrees, other)
            likeliest = text if schema.read else truth
            text = text if schema.json_schema is None else json_text(schema.choice_property, text)
            logprobs = drawn_logprobs(schema.choices, likeliest, options.agreement) if schema.logprobs else None
        return Completion(
            document_id,
            persona_id,
            sample,
            text=text,
            finish_reason="stop",
            prompt_tokens=prompt_tokens,
            cached_prompt_tokens=prompt_tokens - computed,
            output_tokens=len(schema.choices) if schema.questions else output_tokens,
            choice_logprobs=logprobs,
            worker=self._settings.worker,
            device=self._device,
            started_unix_s=started_unix_s,
            latency_s=latency_s,
        )

    def answer_batch(self, prompts: Sequence[Prompt]) -> pa.RecordBatch | None:
        """The drawn answers of prompts that are alike, where answers take no time and nothing is to fail."""
        options = self._options
        fails = self._faulty or options.fail_share or self._answers_until_lost is not None
        if self._time_scale or fails or self._dead is not None:
            return None
        said = drawn_batch(prompts, options, room_tokens=self._capacity_tokens)
        if said is None:
            return None
        self._num_answers += len(prompts)
        about = {"worker": self._settings.worker, "device": self._device, "started_unix_s": time.time()}
        for name, value in about.items():
            said = said.append_column(name, pa.repeat(value, len(prompts)))
        return said

    def _refusal(self, prompt: Prompt, room: int, fails: int) -> Completion | None:
        """The error row of a prompt that does not fit or is drawn to fail; None for others and for faulty documents."""
        if room > self._capacity_tokens:
            kind, error = "context_length", f"{room} tokens do not fit into a KV cache of {self._capacity_tokens}"
        elif fails < self._options.fail_share * 2**32 and prompt.document_id not in self._faulty:
            kind, error = "simulated", f"drawn by fail_share = {self._options.fail_share:g}"
        else:
            return None
        worker, device = self._settings.worker, self._device
        return Completion(*prompt.key, worker=worker, device=device, error_kind=kind, error=error)

    def load(self) -> Load | None:
        """The simulated queue; None where answers take no time."""
        if not self._time_scale and not self._num_running:
            return None  # answers take no time, so there is no batch
        return Load(self._num_running, len(self._waiting), self._room_taken / self._capacity_tokens)

    def stop(self) -> None:
        """Ends the engine; prompts in flight get no answer. Any thread may call it."""
        if self._steps is not None and not (loop := self._steps.get_loop()).is_closed():
            loop.call_soon_threadsafe(self._die, "the engine is stopped")

    async def _through_batch(self, document_id: str, prompt_tokens: int, output_tokens: int) -> float:
        """Runs a prompt through the batch; returns its seconds. A cancelled prompt leaves the batch."""
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        request = _Request(document_id, prompt_tokens, output_tokens, loop.create_future())
        self._waiting.append(request)
        self._work.set()
        try:
            await request.answered
        except asyncio.CancelledError:
            if request in self._waiting:
                self._waiting.remove(request)
            elif request in (last := self._running.get(request.last_step, [])):
                last.remove(request)
                self._leave(request)
            raise
        return loop.time() - begun_s

    async def _run_steps(self) -> None:
        loop, options = asyncio.get_running_loop(), self._options
        while self._dead is None:
            if not self._num_running and not self._waiting:
                self._work.clear()
                await self._work.wait()
                self._due_s = loop.time()
                continue  # the prompt may have been cancelled meanwhile
            new_tokens = self._admit()
            if self._hung or self._dead is not None:
                return
            step_s = prefill_s(self._roofline, self._shape, new_tokens, compute_efficiency=options.compute_efficiency)
            step_s += decode_step_s(
                self._roofline,
                self._shape,
                self._num_running,
                self._context_tokens,
                compute_efficiency=options.compute_efficiency,
                bandwidth_efficiency=options.bandwidth_efficiency,
            )
            # Steps too short to sleep for, and sleeps that last too long, are made up for later.
            self._due_s += step_s * self._time_scale
            owed_s = self._due_s - loop.time()
            await asyncio.sleep(owed_s if owed_s >= SHORTEST_SLEEP_S else 0)
            if self._end_step():
                await asyncio.sleep(0)  # lets callers that got an answer submit their next prompt for the next step

    def _admit(self) -> int:
        """Admits prompts into the batch, first come, first served; returns their number of tokens."""
        new_tokens = 0
        while self._waiting and self._num_running < self._options.max_num_seqs:
            if self._room_taken + self._waiting[0].room > self._capacity_tokens:
                break
            request = self._waiting.popleft()
            request.first_step = self._num_steps
            self._running.setdefault(request.last_step, []).append(request)
            self._num_running += 1
            self._context_tokens += request.prompt_tokens
            self._room_taken += request.room
            new_tokens += request.prompt_tokens
            if request.document_id in self._faulty:
                self._misbehave(request.document_id)
                break
        return new_tokens

    def _misbehave(self, document_id: str) -> None:
        if document_id in self._options.exit_on:
            os._exit(1)
        if document_id in self._options.die_on:
            self._die(f"document {document_id} kills the engine (simulated)")
        else:
            self._hung = True

    def _end_step(self) -> int:
        """Adds a token to every running prompt and completes those that are done; returns how many."""
        self._num_steps += 1
        self._context_tokens += self._num_running
        complete = self._running.get(self._num_steps, [])
        num_complete = len(complete)
        while complete:
            request = complete.pop(0)
            self._leave(request)
            if not request.answered.done():
                request.answered.set_result(None)
                self._num_answers += 1
            if self._num_answers == self._answers_until_lost:
                self._die(DEVICE_LOST)
                return 0
        self._running.pop(self._num_steps, None)
        return num_complete

    def _leave(self, request: _Request) -> None:
        self._num_running -= 1
        self._context_tokens -= request.prompt_tokens + self._num_steps - request.first_step
        self._room_taken -= request.room

    def _die(self, reason: str) -> None:
        self._dead = self._dead or reason
        if reason == DEVICE_LOST and self._lost_for_good is not None:
            self._lost_for_good.touch()
        lost = [*self._waiting, *chain.from_iterable(self._running.values())]
        self._waiting.clear()
        self._running.clear()
        self._num_running = self._context_tokens = self._room_taken = 0
        for request in lost:
            if not request.answered.done():
                request.answered.set_exception(EngineDeadError(self._dead))
        self._work.set()
