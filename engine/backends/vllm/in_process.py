"""vLLM inside the worker: continuous batching on XPU, CUDA and CPU by the same code.

On GPUs the engine is AsyncLLM, whose core is a process of its own; on a processor it is stepped in the worker's own
(stepped.py).
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from typing import Any

from xpoll.core.errors import EngineError
from xpoll.core.machine.environment import computes_bf16
from xpoll.core.models import resolve_model
from xpoll.core.questions import YES_NO, fitting
from xpoll.core.records import AnswerSchema, Completion, Prompt
from xpoll.engine.backends.backend import BackendSettings, EngineDeadError, Load
from xpoll.engine.backends.chat import ChatEncoder, more_of, too_long
from xpoll.engine.backends.choice_logprobs import NUM_ALTERNATIVES, answer_logprobs
from xpoll.engine.backends.vllm import versions
from xpoll.engine.backends.vllm.output_tail import OutputTail
from xpoll.engine.backends.vllm.reads import Read, Reader, tree_of
from xpoll.engine.backends.vllm.stepped import SteppedEngine
from xpoll.engine.backends.vllm.xpu import check_visible, prepare_xpu, xpu_options
from xpoll.engine.devices.find import Device
from xpoll.engine.failures import Failure, failure_in, last_error

MAX_NUM_SEQS = 256  # vLLM's own, where neither xpoll nor the job sets one


class _DidNotStartError(Exception):
    """vLLM's own error, with the failure that caused it where that is known."""

    def __init__(self, error: Exception, printed: str) -> None:
        self.failure: Failure | None = failure_in(f"{error}\n{printed}")
        super().__init__(last_error([*printed.splitlines(), f"{type(error).__name__}: {error}"]) or str(error))

    def for_user(self, model: str) -> EngineError:
        if self.failure is None:
            return EngineError(f"vLLM does not start {model}: {self}", mend="see xpoll.log")
        why = f"{self.failure.name}: {self.failure.what}; {self}"
        return EngineError(f"vLLM does not start {model}: {why}", mend=self.failure.mend)


class VllmBackend:
    """One engine on one device.

    Args:
        settings: What the backend starts with.
    """

    seed_is_safe = False
    """Whether a CPU engine accepts a seed per prompt: vLLM's dies of it, "CPU Generator does not use offset", with
    every prompt in flight. Engines on other devices always get it."""

    def __init__(self, settings: BackendSettings) -> None:
        self._settings = settings
        self._numbers = count()
        self._load_seen = Load(0, 0)
        self._readers: dict[tuple[tuple[str, ...], str], Reader] = {}

    async def start(self) -> None:
        """Loads the model; 20 to 60 s on a CPU.

        Raises:
            EngineError: vLLM refuses the model or the options, or the model has no chat template.
            ModelError: there is no such model.
        """
        prepare_xpu(self._settings.device)
        check_visible(self._settings.device)
        self._output = OutputTail()
        # Loading blocks for a minute; in a thread, so that the event loop keeps running.
        await asyncio.to_thread(self._load)
        self._context = self._engine.model_config.max_model_len
        self._chat = ChatEncoder(await versions.tokenizer_of(self._engine), self._settings.model)

    def _load(self) -> None:
        """Starts the engine; if it runs out of device memory, once more with half as many sequences."""
        model, asked = resolve_model(self._settings.model, key="engine.model"), dict(self._settings.options)
        try:
            self._engine = self._begin(model, asked)
        except _DidNotStartError as error:
            if error.failure is None or error.failure.name != "out of device memory":
                raise error.for_user(self._settings.model) from error
            defaults = default_options(self._settings.device)
            most = int(asked.get("max_num_seqs") or defaults.get("max_num_seqs") or MAX_NUM_SEQS)
            asked["max_num_seqs"] = max(1, most // 2)
            worker = self._settings.worker
            note = f"xpoll: {worker}: out of device memory with max_num_seqs = {most}; once more with {most // 2}\n"
            sys.stderr.write(note)  # the run's log
            self._output.clear()
            try:
                self._engine = self._begin(model, asked)
            except _DidNotStartError as again:
                raise again.for_user(self._settings.model) from again

    def _begin(self, model: str, asked: dict[str, Any]) -> Any:
        from vllm.usage.usage_lib import UsageContext

        device = self._settings.device
        arguments = versions.engine_args(model, default_options(device), asked)
        if device.kind == "cpu" and device.parallel == 1 and versions.steps_in_one_process():
            begin: Callable[..., Any] = SteppedEngine
        else:
            from vllm.v1.engine.async_llm import AsyncLLM

            begin = AsyncLLM.from_engine_args
        try:
            return begin(
                arguments,
                stat_loggers=[self._listener()],
                # As vllm.LLM: its defaults for tokens per step and prompts per batch suit a batch job.
                usage_context=UsageContext.LLM_CLASS,
            )
        except Exception as error:  # any complaint of vLLM about model or options is for the user
            raise _DidNotStartError(error, self._output.text()) from error

    def _why_dead(self, error: str) -> str:
        """The error with the cause of the engine's death, where its output shows a known one."""
        failure = failure_in(self._output.text())
        return f"{failure.name} ({error})" if failure else error

    def _listener(self) -> Any:
        """A stat logger, which vLLM calls after each step; it keeps the metrics of the engine's queue."""
        from vllm.v1.metrics.loggers import StatLoggerBase

        backend = self

        class Listener(StatLoggerBase):  # type: ignore[misc]
            def __init__(self, vllm_config: Any, engine_index: int = 0) -> None:
                pass

            def record(self, scheduler_stats: Any, iteration_stats: Any, *args: Any, **named: Any) -> None:  # noqa: ARG002
                if scheduler_stats is not None:
                    backend._load_seen = Load(
                        scheduler_stats.num_running_reqs,
                        versions.waiting_requests(scheduler_stats),
                        scheduler_stats.kv_cache_usage,
                    )

            def log_engine_initialized(self, *args: Any) -> None:
                pass

            log = record_sleep_state = log_engine_initialized  # abstract in some versions

        return Listener

    async def answer(self, prompt: Prompt) -> Completion:
        """The completion of one prompt; a prompt that cannot be answered ends as an error row.

        Raises:
            EngineDeadError: the engine is gone, and with it every prompt in flight.
        """
        end = self._settings.ending(prompt)
        reads = prompt.answer.read and versions.reads_tokens()
        asked = prompt if reads else prompt.in_words()
        try:
            rendered = [self._chat.rendered(asked, messages) for messages in asked.wordings()]
            requests = [self._chat.encode(text) for text in rendered]
        except Exception as error:  # a prompt that the template or tokenizer refuses is an error row
            return end(error_kind="template", error=f"{type(error).__name__}: {error}")
        token_ids = max(requests, key=len)
        max_tokens = 1 if asked.answer.questions else asked.sampling.max_tokens
        if len(token_ids) + (max_tokens or 1) > self._context:
            return end(
                prompt_tokens=len(token_ids),
                error_kind="context_length",
                error=too_long(len(token_ids), max_tokens or 1, self._context),
            )
        try:
            if not self.seed_is_safe and (problem := seed_problem(prompt, self._settings.device)) is not None:
                raise ValueError(problem)
            if reads:
                # All at once: what requests share is computed with the first of them.
                reader = self._reader(prompt, rendered[0])
                return end(**_answer_read(await asyncio.gather(*map(reader.read, requests)), prompt.answer))
            params = sampling_params(asked, max_tokens or self._context - len(token_ids))
            output = await self._generate(token_ids, params)
        except versions.request_errors() as error:  # vLLM refuses this request and keeps running
            return end(prompt_tokens=len(token_ids), error_kind="refused", error=str(error))
        answer = output.outputs[0]
        told: dict[str, Any] = {}
        if prompt.answer.questions:  # written as one list
            told = {"unread_choices": len(prompt.answer.choices)}
        elif asked.answer.logprobs:
            told = _choice_logprobs(answer, asked)
        return end(
            text=answer.text,
            finish_reason=answer.finish_reason,
            prompt_tokens=len(token_ids),
            cached_prompt_tokens=output.num_cached_tokens or 0,
            output_tokens=len(answer.token_ids),
            **told,
        )

    def _reader(self, prompt: Prompt, rendered: str) -> Reader:
        """The reader of a prompt's labels, or of yes and no; raises ValueError where it cannot tell them apart."""
        tail = self._chat.tail(rendered)
        choices = YES_NO if prompt.answer.questions else prompt.answer.choices
        if (choices, tail) not in self._readers:
            self._chat.check_labels(choices)
            tree = tree_of(choices, self._chat.encode, tail, self._chat.tokenizer.eos_token_id)
            self._readers[choices, tail] = Reader(tree, self._generate)
        return self._readers[choices, tail]

    async def forget_prefixes(self) -> None:
        """Empties the prefix cache, for measurements; no prompt may be in flight."""
        await self._engine.reset_prefix_cache()

    async def profiled(self, work: Callable[[], Awaitable[Any]]) -> None:
        """Runs some work under vLLM's profiler, for measurements; `profiler_config` says what it writes, and where."""
        await self._engine.start_profile()
        await work()
        await self._engine.stop_profile()

    def token_ids(self, prompt: Prompt) -> list[int]:
        """The tokens of a prompt as the engine gets them."""
        return self.token_ids_of(prompt)[0]

    def token_ids_of(self, prompt: Prompt) -> list[list[int]]:
        """The tokens of each request that a read of a prompt takes: several where it has questions."""
        return [self._chat.encode(self._chat.rendered(prompt, messages)) for messages in prompt.wordings()]

    async def _generate(self, token_ids: list[int], params: Any) -> Any:
        from vllm.v1.engine.exceptions import EngineDeadError as VllmEngineDeadError

        output = None
        try:
            generated = self._engine.generate({"prompt_token_ids": token_ids}, params, str(next(self._numbers)))
            async for finished in generated:  # FINAL_ONLY: exactly one
                output = finished
        except VllmEngineDeadError as error:
            raise EngineDeadError(self._why_dead(str(error))) from error
        return output

    def load(self) -> Load | None:
        """The engine's last report of its queue.

        Raises:
            EngineDeadError: the engine is gone.
        """
        # When its process is killed, vLLM marks the engine as dead but leaves requests in flight waiting.
        if self._engine.errored:
            raise EngineDeadError(self._why_dead("vLLM's engine core has ended"))
        return self._load_seen

    def stop(self) -> None:
        """Ends vLLM's processes, or its thread."""
        self._engine.shutdown()


def seed_problem(prompt: Prompt, device: Device) -> str | None:
    """Why the engine on this device cannot take a prompt's seed; None if it can, or if the prompt has none."""
    if device.kind == "cpu" and "seed" in more_of(prompt):
        return "a seed of a prompt's own ends vLLM's CPU engine; leave it out"
    return None


def default_options(device: Device) -> dict[str, Any]:
    """Engine options of vLLM that xpoll sets where [engine.vllm] does not.

    Eager mode: compilation costs a minute per start and gains about 15 % on a CPU; turn it on for long jobs. Intel GPUs
    but Max are left to vLLM, whose graphs nearly halve the time of a token there.
    Block size: the smallest that the device's attention kernel takes, since only whole blocks of a shared
    prefix are reused.
    """
    options: dict[str, Any] = {"enforce_eager": True, "enable_prefix_caching": True, "disable_log_stats": True}
    if device.parallel > 1:
        options |= {"tensor_parallel_size": device.parallel, "distributed_executor_backend": "mp"}
    if device.kind == "cpu":
        # Without bf16 arithmetic in the processor, bf16 is converted at every use and is slower than fp32.
        options |= {"block_size": 32, "max_num_seqs": 128, "dtype": "bfloat16" if computes_bf16() else "float32"}
    if device.kind == "xpu":
        del options["enforce_eager"]
        options |= xpu_options(device)
    return options


def sampling_params(prompt: Prompt, max_tokens: int) -> Any:
    """The SamplingParams of a prompt, for vLLM.

    Args:
        prompt: The prompt.
        max_tokens: Longest answer in tokens.
    """
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    answer, more = prompt.answer, more_of(prompt)
    more.pop("chat_template_kwargs", None)  # for the prompt's text, not for sampling
    constraint: dict[str, Any] = more.pop("structured_outputs", {})
    if answer.json_schema:
        constraint = {"json": json.loads(answer.json_schema)}
    elif answer.choices:
        constraint = {"choice": list(answer.choices)}
    if "logit_bias" in more:  # JSON keys are strings
        more["logit_bias"] = {int(token_id): bias for token_id, bias in more["logit_bias"].items()}
    return SamplingParams(
        temperature=prompt.sampling.temperature,
        top_p=prompt.sampling.top_p,
        max_tokens=max_tokens,
        logprobs=NUM_ALTERNATIVES if answer.logprobs else None,
        output_kind=RequestOutputKind.FINAL_ONLY,
        **versions.constraint_on(constraint),
        **more,
    )


def _answer_read(reads: Sequence[Read], answer: AnswerSchema) -> dict[str, Any]:
    """The fields of a Completion; its text is the likeliest choice, or the list of those that fit."""
    if answer.questions:
        logprobs = tuple(read.logprobs[0] for read in reads)
        text = fitting(answer.choices, logprobs)
    else:
        logprobs = reads[0].logprobs
        text = answer.choices[logprobs.index(max(logprobs))]
    return {
        "text": text,
        "finish_reason": "stop",
        "prompt_tokens": sum(read.prompt_tokens for read in reads),
        "cached_prompt_tokens": sum(read.cached_tokens for read in reads),
        "output_tokens": sum(read.output_tokens for read in reads),
        "choice_logprobs": logprobs,
        "unread_choices": sum(read.unread for read in reads),
    }


def _choice_logprobs(answer: Any, prompt: Prompt) -> dict[str, Any]:
    tokens, alternatives = [], []
    for token_id, options in zip(answer.token_ids, answer.logprobs, strict=True):
        tokens.append(options[token_id].decoded_token)
        alternatives.append({option.decoded_token: option.logprob for option in options.values()})
    told = answer_logprobs(tokens, alternatives, prompt.answer)
    return told.as_fields() if told else {}
