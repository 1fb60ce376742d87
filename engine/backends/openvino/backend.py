"""OpenVINO GenAI as a backend: prompts in, answers as they finish."""

import asyncio
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from xpoll.core.config.file import checked_section
from xpoll.core.questions import YES_NO, fitting
from xpoll.core.records import AnswerSchema, Completion, Prompt
from xpoll.engine.backends.backend import BackendSettings, EngineDeadError, Load
from xpoll.engine.backends.chat import ChatEncoder, more_of, too_long
from xpoll.engine.backends.label_tree import LabelTree
from xpoll.engine.backends.openvino.model import LoadedModel, load_model
from xpoll.engine.backends.openvino.options import OpenVinoOptions
from xpoll.engine.backends.openvino.reads import LabelsRead, first_token, read_labels
from xpoll.engine.backends.openvino.requests import (
    Constraint,
    alternatives,
    constraint_of,
    generation_config,
    until_stop,
)
from xpoll.engine.backends.openvino.runner import MOST_RUNNING, Outcome, PipelineRequest, PipelineRunner, said_by
from xpoll.engine.backends.vllm.reads import WALKS_AT_ONCE, tree_of

MOST_KEPT = 16_384
"""Prompts whose reads are kept."""


class _RefusedError(Exception):
    """GenAI refuses one request and keeps running; the message has the reason."""


class OpenVinoBackend:
    """One pipeline on one device.

    Args:
        settings: What the backend starts with.
    """

    def __init__(self, settings: BackendSettings) -> None:
        self._settings = settings
        self._answers: dict[PipelineRequest, asyncio.Future[Outcome]] = {}
        self._arrived = asyncio.Event()
        self._dead: str | None = None
        self._load_seen = Load(0, 0)
        self._kept: dict[tuple[tuple[str, ...], tuple[int, ...]], asyncio.Future[LabelsRead]] = {}
        self._trees: dict[tuple[tuple[str, ...], str], LabelTree] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="openvino")

    async def start(self) -> None:
        """Converts the model where that was not done yet, and loads it.

        Raises:
            EngineError: the device or an option is refused, or the model has no chat template.
            ModelError: there is no such model, or it cannot be converted.
        """
        options = checked_section(OpenVinoOptions, self._settings.options, "engine.openvino")
        self._loop = asyncio.get_running_loop()
        self._model: LoadedModel = await self._loop.run_in_executor(self._thread, self._loaded, options)
        self._chat = ChatEncoder(self._model.tokenizer, self._settings.model)
        self._reading = asyncio.Semaphore(WALKS_AT_ONCE)
        self._task = asyncio.create_task(self._work())

    def _loaded(self, options: OpenVinoOptions) -> LoadedModel:
        if self._settings.device.cores:
            os.sched_setaffinity(0, self._settings.device.cores)  # of this thread, and of those that it starts
        model = load_model(self._settings.model, options, self._settings.device)
        most = options.scheduler.get("max_num_seqs")
        self._engine = PipelineRunner(model.make_pipeline, most_running=most if isinstance(most, int) else MOST_RUNNING)
        return model

    async def answer(self, prompt: Prompt) -> Completion:
        """The completion of one prompt; a prompt that cannot be answered ends as an error row.

        Raises:
            EngineDeadError: the engine is gone, and with it every prompt in flight.
        """
        end = self._settings.ending(prompt)
        asked = prompt if prompt.answer.read else prompt.in_words()
        try:
            rendered = [self._chat.rendered(asked, messages) for messages in asked.wordings()]
            requests = [self._chat.encode(text) for text in rendered]
        except Exception as error:  # a prompt that the template or tokenizer refuses is an error row
            return end(error_kind="template", error=f"{type(error).__name__}: {error}")
        longest = max(map(len, requests))
        max_tokens = asked.sampling.max_tokens or max(1, self._model.context - longest)
        if longest + max_tokens > self._model.context:
            problem = too_long(longest, max_tokens, self._model.context)
            return end(prompt_tokens=longest, error_kind="context_length", error=problem)
        try:
            if asked.answer.read:
                return end(**_answer_read(await self._read(asked, requests, rendered[0]), asked.answer))
            return end(**await self._written(prompt, asked, requests[0], rendered[0], max_tokens))
        except (_RefusedError, ValueError, TypeError) as error:
            return end(prompt_tokens=longest, error_kind="refused", error=str(error))

    async def _written(
        self, prompt: Prompt, asked: Prompt, token_ids: list[int], rendered: str, max_tokens: int
    ) -> dict[str, Any]:
        constraint = constraint_of(asked)
        config = generation_config(asked, max_tokens, self._model.end_tokens)
        told: dict[str, Any] = {}
        if prompt.answer.questions:  # written as one list
            told = {"unread_choices": len(prompt.answer.choices)}
        elif asked.answer.logprobs and asked.answer.choices and not asked.answer.json_schema:
            # GenAI tells the logprob of the sampled token alone, so the choices are read beside the answer: before it,
            # because what the answer leaves in the cache cannot be read.
            (read,) = await self._read(asked, [token_ids], rendered)
            told = {"choice_logprobs": read.logprobs, "unread_choices": read.unread}
        (found,) = await self._run([PipelineRequest(token_ids, config, constraint)])
        return {
            "text": until_stop(self._decoded(found.token_ids, asked), asked),
            "finish_reason": found.finish_reason,
            "prompt_tokens": len(token_ids),
            "output_tokens": len(found.token_ids),
            **told,
        }

    def _decoded(self, token_ids: Sequence[int], prompt: Prompt) -> str:
        ended = bool(token_ids) and token_ids[-1] in self._model.end_tokens
        text: str = self._chat.tokenizer.decode(
            token_ids[:-1] if ended else token_ids,
            skip_special_tokens=more_of(prompt).get("skip_special_tokens", True),
            clean_up_tokenization_spaces=False,
        )
        return text

    async def _read(self, prompt: Prompt, requests: Sequence[list[int]], rendered: str) -> list[LabelsRead]:
        """What each request of a prompt tells of its labels, or of yes and no."""
        choices = YES_NO if prompt.answer.questions else prompt.answer.choices
        tail = self._chat.tail(rendered)
        if (choices, tail) not in self._trees:
            self._chat.check_labels(choices)
            end = self._chat.tokenizer.eos_token_id
            self._trees[choices, tail] = tree_of(choices, self._chat.encode, tail, end)
        tree = self._trees[choices, tail]
        return list(await asyncio.gather(*(self._read_once(each, choices, tree) for each in requests)))

    async def _read_once(self, token_ids: list[int], choices: tuple[str, ...], tree: LabelTree) -> LabelsRead:
        """What is read for a prompt; what was read already is not asked again, since the cache would hide it."""
        key = (choices, tuple(token_ids))
        if key not in self._kept:
            self._kept[key] = asyncio.ensure_future(self._read_anew(token_ids, choices, tree))
            if len(self._kept) > MOST_KEPT:
                self._kept.pop(next(iter(self._kept)))
        try:
            return await asyncio.shield(self._kept[key])
        except BaseException:
            self._kept.pop(key, None)
            raise

    async def _read_anew(self, token_ids: list[int], choices: tuple[str, ...], tree: LabelTree) -> LabelsRead:
        async def echoed(prompts: Sequence[list[int]]) -> list[list[float]]:
            found = await self._run([PipelineRequest(each, self._model.one_token(echo=True)) for each in prompts])
            return [outcome.logprobs[:-1] for outcome in found]

        async def forced(prompt: list[int], place: int) -> float | None:
            constraint = Constraint("grammar", alternatives((choices[place],)))
            (found,) = await self._run(
                [PipelineRequest(prompt, self._model.one_token(constraint=constraint), constraint)]
            )
            return found.logprobs[0] if found.token_ids[0] == first_token(tree, place) else None

        async with self._reading:
            return await read_labels(token_ids, tree, echoed, forced)

    async def _run(self, requests: Sequence[PipelineRequest]) -> list[Outcome]:
        """Runs requests that begin together; nobody waits for them any more where this is cancelled.

        Raises:
            _RefusedError: GenAI refuses one.
            EngineDeadError: the engine is gone.
        """
        if self._dead is not None:
            raise EngineDeadError(self._dead)
        loop = asyncio.get_running_loop()
        answers: list[asyncio.Future[Outcome]] = [loop.create_future() for _ in requests]
        self._answers.update(zip(requests, answers, strict=True))
        self._engine.add(requests)
        self._arrived.set()
        try:
            outcomes = await asyncio.gather(*answers)
        finally:
            for request in requests:
                request.is_wanted = False
                self._answers.pop(request, None)
        for outcome in outcomes:
            if outcome.refused:
                raise _RefusedError(outcome.refused)
        return outcomes

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while self._dead is None:
            if not self._engine.has_work:
                self._arrived.clear()
                await self._arrived.wait()
                continue
            try:
                ended = await loop.run_in_executor(self._thread, self._stepped)
            except Exception as error:  # what state the engine is in is not known
                self._die(f"OpenVINO GenAI failed: {said_by(error)}")
                return
            for request, outcome in ended:
                answer = self._answers.get(request)
                if answer is not None and not answer.done():
                    answer.set_result(outcome)

    def _stepped(self) -> list[tuple[PipelineRequest, Outcome]]:
        ended = self._engine.step()
        self._load_seen = Load(self._engine.running, self._engine.waiting, self._engine.kv_cache_usage)
        return ended

    def _die(self, why: str) -> None:
        self._dead = why
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(EngineDeadError(why))

    def load(self) -> Load | None:
        """Requests in the pipeline, and requests that wait, as of the last step.

        Raises:
            EngineDeadError: the engine is gone.
        """
        if self._dead is not None:
            raise EngineDeadError(self._dead)
        return self._load_seen

    def stop(self) -> None:
        """Ends the thread. Any thread may call it; the pipeline goes with the process."""
        self._dead = self._dead or "it was stopped"
        self._loop.call_soon_threadsafe(self._arrived.set)
        self._thread.shutdown(wait=False, cancel_futures=True)


def _answer_read(reads: Sequence[LabelsRead], answer: AnswerSchema) -> dict[str, Any]:
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
        "output_tokens": sum(read.output_tokens for read in reads),
        "choice_logprobs": logprobs,
        "unread_choices": sum(read.unread for read in reads),
    }
